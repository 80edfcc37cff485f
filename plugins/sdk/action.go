package sdk

import (
	"encoding/json"
	"fmt"
	"reflect"
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
	// Run decides: Func or Batch makes it. It is called from two goroutines at most, or from twice as
	// many as Parallel. Items that a call leaves no time for are sent again.
	Run Runner
	// Parallel is how many items of a call are decided at a time, at most 16; 0 is one. It is for a Func
	// that waits for something else, and an outcome is then at most 128 KiB.
	Parallel int
	// Configure gets what the operator has set for the plugin, a JSON object, once before the first Run.
	// Its error keeps the plugin from starting, and its text is for the operator.
	Configure func(config json.RawMessage) error
}

var (
	pluginName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	actionName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}(\.[a-z][a-z0-9_]{0,62})+$`)
)

// served is an action with its schemas worked out.
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
	case a.Run.decide == nil:
		return nil, fmt.Errorf("it has no Run: sdk.Func(a function) makes it")
	case a.Run.err != nil:
		return nil, a.Run.err
	case a.Timeout < 0 || a.Timeout > 5*time.Minute:
		return nil, fmt.Errorf("its timeout is not between 0 and 5 minutes")
	case a.Parallel < 0 || a.Parallel > maxParallel:
		return nil, fmt.Errorf("it decides %d items at a time; at most %d are possible", a.Parallel, maxParallel)
	case a.Parallel > 1 && a.Run.batch:
		return nil, fmt.Errorf("it is a Batch, which has all items of a call at once: Parallel is for a Func")
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
	schema, err := schemaOf(a.Run.in)
	if err != nil {
		return nil, err
	}
	output, err := a.Run.shape.schema()
	if err != nil {
		return nil, err
	}
	slices.Sort(effects)
	return &served{Action: a, schema: schema, spec: &actionv1.ActionSpec{
		Action: a.Name, Summary: a.Summary, ParamsSchemaJson: schema.text, OutputSchemaJson: output,
		Reads: slices.Sorted(slices.Values(a.Reads)), Effects: effects,
		External: a.External, Idempotent: a.Idempotent,
		Network: slices.Sorted(slices.Values(a.Network)), TimeoutNanos: int64(a.Timeout),
	}}, nil
}

// shape is where a function's answer has its effects and its output.
type shape struct {
	plain    reflect.Type // what the output is of; nil: there is none
	effects  bool         // the answer is Effects
	embedded []int        // the field that holds them; nil: none
}

var effectsType = reflect.TypeFor[Effects]()

// shapeOf looks at the type of an answer.
func shapeOf(t reflect.Type) (shape, error) {
	if t == effectsType {
		return shape{effects: true}, nil
	}
	is := t
	for is.Kind() == reflect.Pointer {
		is = is.Elem()
	}
	if is.Kind() != reflect.Struct {
		return shape{plain: t}, nil
	}
	fields := is.NumField()
	if fields == 0 {
		return shape{}, nil
	}
	f, ok := is.FieldByName(effectsType.Name())
	if !ok || !f.Anonymous || f.Type != effectsType || len(f.Index) != 1 {
		return shape{plain: t}, nil
	}
	if f.Tag.Get("json") != "-" {
		return shape{}, fmt.Errorf("its answer %s embeds sdk.Effects, which are no output: write sdk.Effects `json:\"-\"`", t)
	}
	if fields == 1 {
		return shape{embedded: f.Index}, nil
	}
	return shape{plain: t, embedded: f.Index}, nil
}

// split takes an answer apart.
func (s shape) split(answer any) (effects Effects, output []byte, err error) {
	if s.effects {
		return answer.(Effects), nil, nil
	}
	if s.embedded != nil {
		v := reflect.ValueOf(answer)
		for v.Kind() == reflect.Pointer && !v.IsNil() {
			v = v.Elem()
		}
		if v.Kind() == reflect.Pointer { // nil: nothing is asked for and nothing said
			return nil, nil, nil
		}
		effects = v.FieldByIndex(s.embedded).Interface().(Effects)
	}
	if s.plain == nil || answer == nil {
		return effects, nil, nil
	}
	if output, err = json.Marshal(answer); err != nil {
		return nil, nil, Fail("bad_output", "the output cannot be written as JSON")
	}
	if len(output) > actionv1.MaxOutput {
		return nil, nil, Fail("bad_output", "the output is over 64 KiB")
	}
	return effects, output, nil
}
