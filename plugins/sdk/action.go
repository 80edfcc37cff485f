package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// Action is one thing that a plugin can decide. What it does not declare it does not get: facts
// outside Reads are not sent, effects outside Effects are refused.
type Action struct {
	Name    string // the plugin's name, a dot, a word: "acme.flag"
	Summary string
	// Reads are the facts to be sent: tags, lists, fields, fields.NAME, email, phone, external_id,
	// dnd, created_at, tombstone.
	Reads   []string
	Effects []EffectKind
	// External says that Run touches the outside world; Idempotent that the outside world sees one
	// effect per idempotency key. External and not Idempotent is tried at most once.
	External   bool
	Idempotent bool
	Network    []string // the hosts that Run talks to
	// Timeout is for one call, which brings up to 1000 items; 0 is 30 seconds, the most 5 minutes.
	Timeout time.Duration
	// Params is a struct value; its type gives the JSON schema, closed against unknown names. Field
	// tags: json:"name,omitempty" for optional, jsonschema:"description", enum:"a,b". Nil: no
	// parameters. Func sets it.
	Params any
	// Run decides one item. It is called from two goroutines at most, or from twice as many as Parallel.
	// Items that a call leaves no time for are sent again.
	Run func(ctx context.Context, in Input) (Result, error)
	// Parallel is how many items of a call are decided at a time, at most 16; 0 is one. It is for actions
	// that wait for something else, and an outcome is then at most 128 KiB.
	Parallel int
	// Configure gets what the operator has set for the plugin, a JSON object, once before the first Run.
	// Its error keeps the plugin from starting, and its text is for the operator.
	Configure func(config json.RawMessage) error
}

// Func completes an action with a function that gets its parameters decoded: P is a struct.
func Func[P any](a Action, run func(ctx context.Context, in Input, p P) (Result, error)) Action {
	var zero P
	a.Params = zero
	a.Run = func(ctx context.Context, in Input) (Result, error) {
		var p P
		if err := in.Decode(&p); err != nil {
			return Result{}, err
		}
		return run(ctx, in, p)
	}
	return a
}

var (
	pluginName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	actionName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}(\.[a-z][a-z0-9_]{0,62})+$`)
)

// served is an action with its schema worked out.
type served struct {
	Action
	schema *paramSchema
	spec   *actionv1.ActionSpec
}

// build checks what the author wrote; its errors are for the author.
func build(name, version string, actions []Action) (map[string]*served, error) {
	if !pluginName.MatchString(name) || strings.TrimSpace(version) == "" {
		return nil, fmt.Errorf("plugin %q version %q: a name is lower-case letters, digits and _, and a version is needed", name, version)
	}
	all := make(map[string]*served, len(actions))
	for _, a := range actions {
		if all[a.Name] != nil {
			return nil, fmt.Errorf("action %s is there twice", a.Name)
		}
		s, err := a.build()
		if err != nil {
			return nil, fmt.Errorf("action %q: %w", a.Name, err)
		}
		all[a.Name] = s
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("plugin %s has no actions", name)
	}
	return all, nil
}

func (a Action) build() (*served, error) {
	switch {
	case !actionName.MatchString(a.Name):
		return nil, fmt.Errorf("an action's name is words of lower-case letters, digits and _ joined by dots: acme.flag")
	case a.Run == nil:
		return nil, fmt.Errorf("it has no Run")
	case a.Timeout < 0 || a.Timeout > 5*time.Minute:
		return nil, fmt.Errorf("its timeout is not between 0 and 5 minutes")
	case a.Parallel < 0 || a.Parallel > maxParallel:
		return nil, fmt.Errorf("it decides %d items at a time; at most %d are possible", a.Parallel, maxParallel)
	}
	for _, w := range a.Reads {
		if !actionv1.ValidRead(w) {
			return nil, fmt.Errorf("it reads %q; there is %s and fields.NAME", w, strings.Join(actionv1.ReadWords, ", "))
		}
	}
	var effects []string
	for _, e := range a.Effects {
		if !actionv1.ValidEffect(string(e)) {
			return nil, fmt.Errorf("it has the effect %q; there is %s", e, strings.Join(actionv1.EffectWords, ", "))
		}
		effects = append(effects, string(e))
	}
	schema, err := schemaOf(a.Params)
	if err != nil {
		return nil, err
	}
	slices.Sort(effects)
	return &served{Action: a, schema: schema, spec: &actionv1.ActionSpec{
		Action: a.Name, Summary: a.Summary, ParamsSchemaJson: schema.text,
		Reads: slices.Sorted(slices.Values(a.Reads)), Effects: effects,
		External: a.External, Idempotent: a.Idempotent,
		Network: slices.Sorted(slices.Values(a.Network)), TimeoutNanos: int64(a.Timeout),
	}}, nil
}
