package actions

import (
	"context"
	"strings"

	"github.com/reprieve-run/reprieve/plugins/sdk"
)

type deleteParams struct {
	Reason string `json:"reason,omitempty" jsonschema:"why, for the tombstone and the audit log"`
}

var contactDelete = sdk.Action{
	Name:    "contact.delete",
	Summary: "Delete the contact; it can be restored until the recovery window has passed.",
	Effects: []sdk.EffectKind{sdk.ContactDelete},
	Run: sdk.Func(func(_ context.Context, call sdk.Call, p deleteParams) (sdk.Effects, error) {
		return onEach(call, sdk.Live, "already deleted", func(i int) sdk.Effect { return sdk.Delete(i, p.Reason) })
	}),
}

type restoreParams struct {
	Reason string `json:"reason,omitempty" jsonschema:"why, for the receipt and the audit log"`
}

var contactRestore = sdk.Action{
	Name:    "contact.restore",
	Summary: "Restore the deleted contact with what the deletion took; starts nothing.",
	Effects: []sdk.EffectKind{sdk.ContactRestore},
	Run: sdk.Func(func(_ context.Context, call sdk.Call, p restoreParams) (sdk.Effects, error) {
		return onEach(call, sdk.Deleted, "not deleted", func(i int) sdk.Effect { return sdk.Restore(i, p.Reason) })
	}),
}

type purgeParams struct {
	Reason string `json:"reason,omitempty" jsonschema:"why, for the audit log"`
}

var contactPurge = sdk.Action{
	Name:    "contact.purge",
	Summary: "Remove the deleted contact for good, once its recovery window has passed and no hold is on it.",
	Effects: []sdk.EffectKind{sdk.ContactPurge},
	Run: sdk.Func(func(_ context.Context, call sdk.Call, p purgeParams) (sdk.Effects, error) {
		return onEach(call, sdk.Deleted, "not deleted", func(i int) sdk.Effect { return sdk.Purge(i, p.Reason) })
	}),
}

// onEach makes an effect for each target in the wanted state. With none there is nothing to do: an
// item that is tried again after it was committed ends here.
func onEach(call sdk.Call, want sdk.State, otherwise string, effect func(i int) sdk.Effect) (sdk.Effects, error) {
	if len(call.Targets) == 0 {
		return nil, errNoContact
	}
	var effects sdk.Effects
	purged := 0
	for i, t := range call.Targets {
		switch t.State {
		case want:
			effects = append(effects, effect(i))
		case sdk.Purged:
			purged++
		}
	}
	switch {
	case len(effects) > 0:
		return effects, nil
	case purged == len(call.Targets):
		return nil, sdk.Skip("purged")
	}
	return nil, sdk.Skip(otherwise)
}

var errNoContact = sdk.Fail("no_contact", "the step has no contact").WithHint("run it in a workflow that runs for a contact")

type tagParams struct {
	_      struct{} `minProperties:"1"`
	Add    []string `json:"add,omitempty" jsonschema:"tags to add"`
	Remove []string `json:"remove,omitempty" jsonschema:"tags to remove, in any spelling"`
}

var contactTag = sdk.Action{
	Name:    "contact.tag",
	Summary: "Add tags to the contact and remove tags from it.",
	Effects: []sdk.EffectKind{sdk.TagAdd, sdk.TagRemove},
	Run: sdk.Func(func(_ context.Context, call sdk.Call, p tagParams) (sdk.Effects, error) {
		if err := p.check(); err != nil {
			return nil, err
		}
		return onLive(call, func(i int) (effects sdk.Effects) {
			for _, tag := range p.Remove {
				effects = append(effects, sdk.RemoveTag(i, strings.TrimSpace(tag)))
			}
			for _, tag := range p.Add {
				effects = append(effects, sdk.AddTag(i, strings.TrimSpace(tag)))
			}
			return effects
		})
	}),
}

// onLive makes effects for each target, all of which must be live: what else could change is nobody's.
func onLive(call sdk.Call, effects func(i int) sdk.Effects) (sdk.Effects, error) {
	if len(call.Targets) == 0 {
		return nil, errNoContact
	}
	var all sdk.Effects
	for i, t := range call.Targets {
		if t.State != sdk.Live {
			return nil, sdk.Fail(string(t.State), "the contact is "+string(t.State)+": nothing of it can change").
				WithHint("branch on the contact's state, or restore it first")
		}
		all = append(all, effects(i)...)
	}
	return all, nil
}

// invalid is what is wrong with the parameters; it must repeat no value.
func invalid(what string) error { return sdk.Fail("invalid_params", what) }

func (p tagParams) check() error {
	if len(p.Add)+len(p.Remove) == 0 {
		return invalid("there is neither a tag to add nor one to remove")
	}
	for _, add := range p.Add {
		for _, remove := range p.Remove {
			if strings.EqualFold(strings.TrimSpace(add), strings.TrimSpace(remove)) {
				return invalid("a tag is both to be added and to be removed")
			}
		}
	}
	for _, tag := range append(p.Add[:len(p.Add):len(p.Add)], p.Remove...) {
		if strings.TrimSpace(tag) == "" {
			return invalid("a tag is empty")
		}
	}
	return nil
}
