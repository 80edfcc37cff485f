package crm

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// What is no body is refused before anything looks into it, and no error repeats any of it.
func TestParseBody(t *testing.T) {
	t.Parallel()
	many := func(n int) string { return strings.TrimSuffix(strings.Repeat("1,", n), ",") }
	members := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `%s"k%d":0`, strings.Repeat(",", min(i, 1)), i)
		}
		return b.String()
	}
	nest := func(n int) string { return `{"SECRET":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}` }
	pad := func(n int) string { return `{"a":"` + strings.Repeat("x", n-len(`{"a":""}`)) + `"}` }
	for _, c := range []struct {
		body string
		good bool
	}{
		{`{}`, true}, {" {\"a\" : [1, {\"b\": null}]}\n", true}, {`{"a":{"x":1},"b":{"x":1}}`, true}, {nest(16), true}, {nest(17), false},
		{pad(MaxBody), true}, {pad(MaxBody + 1), false}, {`{"a":[` + many(1000) + `]}`, true}, {`{"a":[` + many(1001) + `]}`, false},
		{`{` + members(1000) + `}`, true}, {`{` + members(1001) + `}`, false},
		{``, false}, {`null`, false}, {`[]`, false}, {`"SECRET"`, false}, {`1`, false}, {`{"SECRET":1`, false}, {`{"SECRET"}`, false}, {`{"SECRET":1}{}`, false},
		{`{"SECRET":1} x`, false}, {`{"SECRET":1,"SECRET":2}`, false}, {`{"a":{"SECRET":1,"SECRET":1}}`, false}, {"{\"a\":1,\"\\u0061\":2}", false}, {`{"a":[{"b":1,"b":1}]}`, false},
		{"{\"SECRET\":\"\xff\"}", false}, {`{"a":1e999}`, false}, {`{a:1}`, false}, {`{'a':1}`, false}, {`{"a":NaN}`, false}, {`{"a":1,}`, false}, {strings.Repeat(`{"a":`, 60000/5), false},
	} {
		got, err := ParseBody([]byte(c.body))
		name := c.body[:min(40, len(c.body))]
		if (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if e, ok := err.(*Error); err != nil && (!ok || e.Code != CodeInvalid || e.Hint == "" || strings.Contains(e.Error()+e.Hint, "SECRET")) {
			t.Errorf("%s: %v", name, err)
		}
		if c.good && BodyValue(got) == nil {
			t.Errorf("%s: not readable as %.40s", name, got)
		}
	}
}

// Numbers keep their value, or are texts that do.
func TestBodyValue(t *testing.T) {
	t.Parallel()
	body, err := ParseBody([]byte(`{"a": 9007199254740991, "b": 9007199254740993, "c": -12345678901234567890, "d": 1.5, "e": 1e30, "f": [true, null, "x"]}`))
	want := map[string]any{"a": 9007199254740991.0, "b": "9007199254740993", "c": "-12345678901234567890", "d": 1.5, "e": 1e30, "f": []any{true, nil, "x"}}
	if got := BodyValue(body); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

// FuzzBody: what is accepted is one object within the bounds that means the same as what came.
func FuzzBody(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":[1,{"b":"\u0000"}]}`, `{"a":1,"a":2}`, `{"a":1e999}`, "{\"\\ud800\":1,\"\\ud801\":2}", `[[[[`, `{"a":"` + "\xff" + `"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		body, err := ParseBody(raw)
		if err != nil {
			return
		}
		if again, err := ParseBody([]byte(body)); err != nil || again != body || len(body) > MaxBody {
			t.Fatalf("%q is read again as %q, %v", body, again, err)
		}
		var a, b map[string]any
		if json.Unmarshal(raw, &a) != nil || json.Unmarshal([]byte(body), &b) != nil || !reflect.DeepEqual(a, b) || BodyValue(body) == nil {
			t.Fatalf("%q became %q", raw, body)
		}
	})
}
