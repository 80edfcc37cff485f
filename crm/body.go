package crm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// The bounds of the body of a request to a webhook. Expressions look at no longer lists and at no larger
// maps, and a body that cannot be looked at is better refused while its sender still listens.
const (
	MaxBody      = 64 << 10 // bytes
	maxBodyDepth = 16       // objects and lists inside one another
	maxBodyItems = 1000     // of one list, and members of one object
)

// ParseBody reads the body of a request: one JSON object in UTF-8, within the bounds, in which no object has
// a member twice (two readers of such a one may see two different bodies). It gives the object as it is
// kept, without the space between its parts. The error repeats nothing of the body.
func ParseBody(raw []byte) (string, error) {
	const op = "read the body of a request"
	bad := func(hint, format string, args ...any) error {
		return Errorf(op, CodeInvalid, format, args...).WithHint("%s", hint)
	}
	switch {
	case len(raw) > MaxBody:
		return "", bad("send what the workflow needs, and the rest by its id", "it is longer than %d KiB", MaxBody>>10)
	case !utf8.Valid(raw):
		return "", bad("send JSON in UTF-8", "it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		return "", bad(`send an object, as in {"email": "ada@example.org"}`, "it is not a JSON object")
	}
	if text := jsonObject(d, 1); text != "" {
		return "", bad("send one JSON object, nested at most 16 deep, with at most 1000 members or items in a part of it, each name once", "%s", text)
	}
	if _, err := d.Token(); err != io.EOF {
		return "", bad("send one JSON object and nothing else", "something stands behind the object")
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return "", bad("send JSON", "it is not JSON")
	}
	return b.String(), nil
}

// jsonObject reads what follows a { or [ and says what is wrong with it, "" if nothing is.
func jsonObject(d *json.Decoder, depth int) string {
	if depth > maxBodyDepth {
		return fmt.Sprintf("it is nested deeper than %d", maxBodyDepth)
	}
	names := map[string]bool{}
	for n := 1; ; n++ {
		t, err := d.Token()
		if err != nil {
			return "it is not JSON, or was cut short"
		}
		if t == json.Delim('}') {
			return ""
		}
		name, _ := t.(string)
		switch {
		case n > maxBodyItems:
			return fmt.Sprintf("an object has more than %d members", maxBodyItems)
		case names[name]:
			return "an object has the same member twice"
		}
		names[name] = true
		if t, err = d.Token(); err != nil {
			return "it is not JSON, or was cut short"
		}
		if text := jsonValue(d, t, depth); text != "" {
			return text
		}
	}
}

// jsonValue reads on behind the first token of a value.
func jsonValue(d *json.Decoder, t json.Token, depth int) string {
	switch t := t.(type) {
	case json.Number:
		if _, err := t.Float64(); err != nil {
			return "a number is too large"
		}
	case json.Delim:
		if t == '{' {
			return jsonObject(d, depth+1)
		}
		if depth+1 > maxBodyDepth {
			return fmt.Sprintf("it is nested deeper than %d", maxBodyDepth)
		}
		for n := 1; ; n++ {
			t, err := d.Token()
			switch {
			case err != nil:
				return "it is not JSON, or was cut short"
			case t == json.Delim(']'):
				return ""
			case n > maxBodyItems:
				return fmt.Sprintf("a list has more than %d items", maxBodyItems)
			}
			if text := jsonValue(d, t, depth+1); text != "" {
				return text
			}
		}
	}
	return ""
}

// BodyValue gives a body that ParseBody made as expressions see it: maps, lists, texts, float64, bool and nil. A
// whole number that a float64 cannot hold, the id in another system say, is a text of its digits.
func BodyValue(body string) any {
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	var v map[string]any
	if d.Decode(&v) != nil || v == nil {
		return nil
	}
	return plainNumbers(v)
}

// mostWhole is the greatest number up to which a float64 holds each whole one.
const mostWhole = 1<<53 - 1

// plainNumbers replaces the numbers in a decoded value.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		f, _ := v.Float64()
		if (f > mostWhole || f < -mostWhole) && !strings.ContainsAny(v.String(), ".eE") {
			return v.String()
		}
		return f
	case map[string]any:
		for k := range v {
			v[k] = plainNumbers(v[k])
		}
	case []any:
		for i := range v {
			v[i] = plainNumbers(v[i])
		}
	}
	return v
}
