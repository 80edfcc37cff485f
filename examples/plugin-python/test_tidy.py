"""An action is a plain function: neither a host nor gRPC is needed to test it.  python3 -m unittest"""

import unittest

import reprieve
import tidy


def decide(fields, state="live", **params):
    contact = reprieve.Contact(fields=fields)
    call = reprieve.Call(params=params, targets=[reprieve.Target(state=state, contact=contact)])
    return reprieve.decide(tidy.ACTION, call)


class Names(unittest.TestCase):
    def test_tidied(self):
        for old, new in {
            "  ada ": "Ada", "ADA": "Ada", "jean-luc": "Jean-Luc", "O'NEILL": "O'Neill", "Zoe\u0308": "Zo\u00eb",
            "van  Gogh": "van Gogh", "\u00c9MILE": "\u00c9mile", "   ": None,
        }.items():
            with self.subTest(old):
                want = reprieve.Done([reprieve.set_field(0, "first_name", new)], output={"changed": 1})
                self.assertEqual(decide({"first_name": old}), want)

    def test_left_alone(self):
        for fields in {}, {"first_name": "Ada", "last_name": "McDonald"}, {"first_name": 5.0}:
            self.assertEqual(decide(fields), reprieve.Skip("the names are tidy"))
        self.assertEqual(decide({"first_name": "ADA"}, recase=False), reprieve.Skip("the names are tidy"))
        self.assertEqual(decide({"first_name": "ada"}, state="deleted"), reprieve.Skip("the contact is not live"))

    def test_bad_params(self):
        for params in {"recase": "yes"}, {"case": True}:
            self.assertEqual(decide({"first_name": "ada"}, **params).code, "invalid_params")


if __name__ == "__main__":
    unittest.main()
