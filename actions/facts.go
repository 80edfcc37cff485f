package actions

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/plugins/sdk"
)

// nothing is the parameters of an action that has none.
type nothing struct{}

var contactArchive = sdk.Action{
	Name: "contact.archive",
	Summary: "Archive the contact: out of its lists, campaigns and workflows, but not deleted. " +
		"The run that does it goes on to its end.",
	Effects: []sdk.EffectKind{sdk.ContactArchive},
	Run: sdk.Func(func(_ context.Context, call sdk.Call, _ nothing) (sdk.Effects, error) {
		return onLive(call, func(i int) sdk.Effects { return sdk.Effects{sdk.Archive(i)} })
	}),
}

var contactUnarchive = sdk.Action{
	Name:    "contact.unarchive",
	Summary: "Let the archived contact back on its lists; campaigns and workflows that stood still stay so until somebody resumes them.",
	Effects: []sdk.EffectKind{sdk.ContactUnarchive},
	Run: sdk.Func(func(_ context.Context, call sdk.Call, _ nothing) (sdk.Effects, error) {
		return onLive(call, func(i int) sdk.Effects { return sdk.Effects{sdk.Unarchive(i)} })
	}),
}

// maxFields is how many fields one step sets: the host takes 100 effects of an item.
const maxFields = 100

type setParams struct {
	Fields map[string]any `json:"fields" jsonschema:"the fields by name, each with its new value: text, a number, true or false, or a list of texts; null removes the field"`
}

var contactSet = sdk.Action{
	Name:    "contact.set",
	Summary: "Set fields of the contact, or remove them.",
	Effects: []sdk.EffectKind{sdk.FieldSet},
	Run: sdk.Func(func(_ context.Context, call sdk.Call, p setParams) (sdk.Effects, error) {
		set, err := p.effects()
		if err != nil {
			return nil, err
		}
		return onLive(call, func(i int) sdk.Effects {
			own := slices.Clone(set)
			for j := range own {
				own[j].Target = i
			}
			return own
		})
	}),
}

// effects gives the changes in the order of the fields' names, the same on every attempt.
func (p setParams) effects() (sdk.Effects, error) {
	if len(p.Fields) == 0 || len(p.Fields) > maxFields {
		return nil, invalid(fmt.Sprintf("there are %d fields to set; 1 to %d are possible", len(p.Fields), maxFields))
	}
	var effects sdk.Effects
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(p.Fields)) {
		is := strings.TrimSpace(name)
		if is == "" || seen[is] {
			return nil, invalid("a field's name is empty or there twice")
		}
		seen[is] = true
		v, err := fieldValue(p.Fields[name])
		if err != nil {
			return nil, err
		}
		effects = append(effects, sdk.SetField(0, is, v))
	}
	return effects, nil
}

func fieldValue(v any) (any, error) {
	list, ok := v.([]any)
	if !ok {
		if _, object := v.(map[string]any); object {
			return nil, invalid("a field cannot hold a mapping")
		}
		return v, nil
	}
	texts := make([]string, len(list))
	for i, of := range list {
		if texts[i], ok = of.(string); !ok {
			return nil, invalid("a field's list can hold texts only")
		}
	}
	return texts, nil
}
