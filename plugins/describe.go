package plugins

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc/status"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// The timeouts of one call.
const (
	defaultTimeout = 30 * time.Second
	maxTimeout     = 5 * time.Minute
)

// The bounds of a description.
const (
	maxActions = 256
	maxSchema  = 64 << 10 // bytes
	maxText    = 500      // bytes of any text of a plugin's that is kept
)

var (
	pluginName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	actionName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}(\.[a-z][a-z0-9_]{0,62})+$`)
)

// specsOf checks a description and gives its actions by name.
func specsOf(d *actionv1.DescribeResponse) (map[string]Spec, error) {
	if !pluginName.MatchString(d.GetName()) || d.GetVersion() == "" || len(d.GetVersion()) > maxText {
		return nil, fmt.Errorf("it does not say its name and version")
	}
	if n := len(d.GetActions()); n == 0 || n > maxActions {
		return nil, fmt.Errorf("it has %d actions; 1 to %d are allowed", n, maxActions)
	}
	specs := make(map[string]Spec, len(d.GetActions()))
	for _, a := range d.GetActions() {
		s, err := specOf(a)
		if err != nil {
			return nil, err
		}
		if _, twice := specs[s.Action]; twice {
			return nil, fmt.Errorf("it has the action %s twice", s.Action)
		}
		s.Plugin, s.Version = d.GetName(), clean(d.GetVersion())
		specs[s.Action] = s
	}
	return specs, nil
}

func specOf(a *actionv1.ActionSpec) (Spec, error) {
	name := a.GetAction()
	if !actionName.MatchString(name) {
		return Spec{}, fmt.Errorf("it has an action whose name is not words joined by dots")
	}
	s := Spec{
		Action: name, Summary: clean(a.GetSummary()), Reads: sorted(a.GetReads()), Effects: []EffectKind{},
		External: a.GetExternal(), Idempotent: a.GetIdempotent(), Network: sorted(a.GetNetwork()),
		Timeout: time.Duration(a.GetTimeoutNanos()), Schema: a.GetParamsSchemaJson(),
	}
	for _, w := range s.Reads {
		if !actionv1.ValidRead(w) || len(w) > maxText {
			return Spec{}, fmt.Errorf("%s reads a fact that there is not", name)
		}
	}
	for _, e := range sorted(a.GetEffects()) {
		if !actionv1.ValidEffect(e) {
			return Spec{}, fmt.Errorf("%s has an effect that there is not", name)
		}
		s.Effects = append(s.Effects, EffectKind(e))
	}
	for _, n := range s.Network {
		if n == "" || n != clean(n) {
			return Spec{}, fmt.Errorf("%s talks to a host that has no proper name", name)
		}
	}
	if len(s.Schema) > maxSchema || len(s.Schema) > 0 && !json.Valid(s.Schema) {
		return Spec{}, fmt.Errorf("%s has a schema that is no JSON or over 64 KiB", name)
	}
	if s.Timeout <= 0 {
		s.Timeout = defaultTimeout
	}
	s.Timeout = min(s.Timeout, maxTimeout)
	return s, nil
}

// sorted gives the words in order, each once; never nil, so that it always encodes alike.
func sorted(words []string) []string {
	out := append([]string{}, words...)
	slices.Sort(out)
	return slices.Compact(out)
}

// clean makes a plugin's text fit to be shown: valid, short and without control characters, which
// on a terminal are commands.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) <= maxText {
		return s
	}
	cut := maxText
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// cleanRPC keeps a gRPC error's code and drops its text, which is the plugin's.
func cleanRPC(err error) error {
	if s, ok := status.FromError(err); ok {
		return fmt.Errorf("the call ended with %s", s.Code())
	}
	return err
}
