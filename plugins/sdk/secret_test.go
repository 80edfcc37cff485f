package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// A secret is marked in the schema, read from the parameters, and shown by nothing.
func TestSecret(t *testing.T) {
	t.Parallel()
	type params struct {
		Token Secret `json:"token,omitzero" jsonschema:"the token"`
	}
	s, err := schemaOf(reflect.TypeFor[params]())
	if err != nil || !strings.Contains(string(s.text), `"token":{"type":"string","description":"the token","writeOnly":true}`) {
		t.Fatalf("%s, %v", s.text, err)
	}
	a := Action{Name: "a.b", Run: Func(func(_ context.Context, _ Call, p params) (Effects, error) {
		if p.Token.Reveal() != "hush" {
			t.Errorf("it is %q", p.Token.Reveal())
		}
		shown, err := json.Marshal(p)
		if all := fmt.Sprintf("%v %+v %#v %s %s", p, p, p, p.Token, shown); err != nil || strings.Contains(all, "hush") {
			t.Error(all, err)
		}
		return nil, nil
	})}
	if _, _, err := a.Decide(t.Context(), Call{}, []byte(`{"token": "hush"}`)); err != nil {
		t.Fatal(err)
	}
}
