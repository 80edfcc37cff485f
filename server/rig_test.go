package server

import (
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/internal/clock"
	"github.com/reprieve-run/reprieve/plugins"
	"github.com/reprieve-run/reprieve/runtime"
	"github.com/reprieve-run/reprieve/store"
	"github.com/reprieve-run/reprieve/store/storetest"
)

// rig is an App over the hostile memory engine, with a plugin host that has no actions.
type rig struct {
	t     *testing.T
	app   *App
	clock *clock.Virtual
}

type lockedRand struct {
	mu sync.Mutex
	r  *rand.ChaCha8
}

func (l *lockedRand) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(p)
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, clock: clock.NewVirtual(time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC))}
	eng := storetest.NewMemory(storetest.MemoryOptions{Now: func() crm.Nanos { return crm.At(r.clock.Now()) }, Seed: 7})
	st, err := store.New(t.Context(), eng, store.Options{Key: make([]byte, 32), Rand: &lockedRand{r: rand.NewChaCha8([32]byte{7})}})
	r.must(err)
	host, err := plugins.New(plugins.Options{RunDir: t.TempDir(), Dir: t.TempDir(), Log: zerolog.Nop()})
	r.must(err)
	engine, err := runtime.New(runtime.Options{Store: st, Actions: host, Clock: r.clock, Log: zerolog.Nop()})
	r.must(err)
	r.app = &App{Store: st, Engine: engine, Host: host, Log: zerolog.Nop(), Audit: &memoryAudit{}}
	t.Cleanup(func() {
		r.must(host.Close(t.Context()))
		r.must(st.Close())
	})
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) try(role crm.Role, verb string, q, a any, in io.Reader) error {
	r.t.Helper()
	return r.app.As(crm.Actor{ID: "user:test", Role: role}).Call(r.t.Context(), verb, q, a, in)
}

// ask calls a verb as an admin, which must succeed.
func ask[A any](r *rig, verb string, q any) A {
	r.t.Helper()
	var a A
	if err := r.try(crm.Admin, verb, q, &a, nil); err != nil {
		r.t.Fatalf("%s: %v", verb, err)
	}
	return a
}

// refused calls a verb as an admin, which must be refused with a code, a hint and no personal data.
func (r *rig) refused(verb string, q any, code string) string {
	r.t.Helper()
	err := r.try(crm.Admin, verb, q, nil, nil)
	e, ok := err.(*crm.Error)
	if !ok || e.Code != code || e.Hint == "" || strings.Contains(e.Error()+e.Hint, "example.com") {
		r.t.Errorf("%s: %v (help: %v), wanted %s with a hint", verb, err, e, code)
		return ""
	}
	return e.Error() + "\n" + e.Hint
}

// account makes the account.
func (r *rig) account() {
	r.t.Helper()
	ask[AccountView](r, "account.create", AccountCreate{Name: "main"})
}

func (r *rig) contact(email string) ContactView {
	r.t.Helper()
	return ask[ContactView](r, "contact.create", ContactCreate{Email: email})
}

func (r *rig) delete(id crm.ContactID, reason string) {
	r.t.Helper()
	ask[Deletion](r, "contact.delete", ContactDelete{ID: id.String(), Confirm: "DELETE", Reason: reason})
}
