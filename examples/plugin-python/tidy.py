"""tidy is an example of a plugin in Python: its one action tidies up first and last names."""

import re
import unicodedata

from reprieve import Action, Done, Skip, serve, set_field

NAMES = ("first_name", "last_name")


def tidy(name, recase):
    """Gives a name without stray blanks, composed, and no longer in capitals or small letters only."""
    name = " ".join(unicodedata.normalize("NFC", name).split())
    if recase and (name.isupper() or name.islower()):
        name = re.sub(r"[^\W\d_]+", lambda word: word[0].capitalize(), name)
    return name


def names(call):
    """Decides one item: call.params are checked by then, call.target is the contact of the run."""
    if call.target.state != "live":
        return Skip("the contact is not live")
    effects = []
    for field in NAMES:
        old = call.target.contact.fields.get(field)
        if isinstance(old, str) and (new := tidy(old, call.params.get("recase", True))) != old:
            effects.append(set_field(0, field, new or None))  # None removes what was blank
    if not effects:
        return Skip("the names are tidy")
    return Done(effects, output={"changed": len(effects)})


ACTION = Action(
    name="tidy.names",
    summary="Normalise the first and the last name of the contact.",
    reads=[f"fields.{name}" for name in NAMES],
    effects=["field.set"],
    params={
        "properties": {
            "recase": {"type": "boolean", "description": "also ADA and ada become Ada; true if missing"},
        },
    },
    run=names,
)

if __name__ == "__main__":
    serve("tidy", "1.0.0", ACTION)
