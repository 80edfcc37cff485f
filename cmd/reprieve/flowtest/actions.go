package flowtest

import (
	"context"
	"sync"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/workflow"
)

// executor executes the built-in actions, and of the others and of those that a case mocks it says what the
// case says.
type executor struct {
	builtin *plugins.InProcess
	mu      sync.Mutex
	mocks   map[string][]workflow.Mock
	used    map[string]int // calls that the first of an action's mocks has answered
	called  []string       // each step once, however often it was tried
	keys    map[string]bool
}

func newExecutor(builtin *plugins.InProcess, mocks map[string][]workflow.Mock) *executor {
	e := &executor{builtin: builtin, mocks: map[string][]workflow.Mock{}, used: map[string]int{}, keys: map[string]bool{}}
	for action, list := range mocks {
		e.mocks[action] = list
	}
	return e
}

// Spec implements runtime.Executor: an action that is not built in may do nothing.
func (e *executor) Spec(ctx context.Context, action string) (plugins.Spec, error) {
	if s, err := e.builtin.Spec(ctx, action); err == nil {
		return s, nil
	}
	return plugins.Spec{Action: action, Plugin: "mock", Version: "test"}, nil
}

// Execute implements runtime.Executor.
func (e *executor) Execute(ctx context.Context, action string, b plugins.Batch) ([]plugins.Outcome, error) {
	out := make([]plugins.Outcome, len(b.Items))
	for i, it := range b.Items {
		mock, ok := e.mock(action, it.Key)
		if ok {
			out[i] = mock
			continue
		}
		one := b
		one.Items = b.Items[i : i+1]
		got, err := e.builtin.Execute(ctx, action, one)
		if err != nil {
			return nil, err
		}
		out[i] = got[0]
	}
	return out, nil
}

// mock gives what a case says of the next call; false: it is a built-in one's to decide.
func (e *executor) mock(action, key string) (plugins.Outcome, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.keys[key] {
		e.keys[key] = true
		e.called = append(e.called, action)
	}
	list, mocked := e.mocks[action]
	for len(list) > 0 && list[0].Times > 0 && e.used[action] >= list[0].Times {
		list = list[1:]
		e.mocks[action], e.used[action] = list, 0
	}
	if len(list) == 0 {
		_, builtin := e.builtin.Catalogue()[action]
		switch {
		case builtin:
			return plugins.Outcome{}, false
		case mocked:
			return plugins.Outcome{Status: plugins.Done}, true
		}
		return plugins.Outcome{Status: plugins.Fail, Code: "not_mocked", Message: action + " is not built in: say under mocks what it comes to"}, true
	}
	e.used[action]++
	m := list[0]
	o := plugins.Outcome{Output: m.Output, Code: m.Code, Message: m.Message, After: m.After}
	o.Status = map[string]plugins.Status{"done": plugins.Done, "fail": plugins.Fail, "skip": plugins.Skip, "retry": plugins.Retry}[m.Status]
	return o, true
}

// calls gives the actions that were called so far.
func (e *executor) calls() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string{}, e.called...)
}

// grants are everything that a workflow can be granted: a case is about what it does, not about who let it.
var grants = []string{string(crm.VerbDelete), string(crm.VerbRestore), string(crm.VerbPurge), string(crm.VerbErase)}
