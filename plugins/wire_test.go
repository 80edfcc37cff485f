package plugins

import (
	"context"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/reprieve-run/reprieve/crm"
	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

// tap keeps what is written to a connection.
type tap struct {
	net.Conn
	mu  *sync.Mutex
	all *[]byte
}

func (c tap) Write(b []byte) (int, error) {
	c.mu.Lock()
	*c.all = append(*c.all, b...)
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// wire is a plugin at the other end of a real connection, of which every byte that the host sends is kept.
type wire struct {
	p    *plugin
	mu   sync.Mutex
	sent []byte
}

func newWire(t *testing.T) *wire {
	t.Helper()
	w := &wire{}
	path := filepath.Join(tempDir(t), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	actionv1.RegisterActionPluginServer(server, rogue{name: "x.act"})
	go func() { _ = server.Serve(l) }()
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			c, err := net.Dial("unix", path)
			return tap{c, &w.mu, &w.sent}, err
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(); server.Stop() })
	c := &hands{}
	w.p = newPlugin("x", nil, launch{log: zerolog.Nop(), now: c.now}, nil)
	w.p.proc = &process{rpc: actionv1.NewActionPluginClient(conn), child: &child{exited: make(chan struct{})}}
	return w
}

// sends gives the bytes that an action with these reads is sent.
func (w *wire) sends(t *testing.T, reads []string, items []Item) string {
	t.Helper()
	w.mu.Lock()
	w.sent = w.sent[:0]
	w.mu.Unlock()
	w.p.specs = map[string]Spec{"x.act": {Action: "x.act", Reads: reads, Timeout: maxTimeout}}
	out := make([]Outcome, len(items))
	if n, err := w.p.executeSome(t.Context(), "x.act", Batch{Items: items}, 0, out); err != nil || n != len(items) {
		t.Fatal(n, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.sent)
}

// canary fills every text and every number that can be reached from v, each with its own canary, so that a
// member that is added to a contact or a manifest is covered without a word here.
func canary(v reflect.Value, path string, marks map[string]string) {
	switch v.Kind() {
	case reflect.String:
		mark := fmt.Sprintf("<%s>", path)
		v.SetString(mark)
		marks[path] = mark
	case reflect.Struct:
		for i := range v.NumField() {
			canary(v.Field(i), path+"."+v.Type().Field(i).Name, marks)
		}
	case reflect.Array:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			return
		}
		raw := fmt.Appendf(nil, "<%02d>", len(marks))
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(raw[i%len(raw)]))
		}
		marks[path] = string(raw)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		canary(v.Index(0), path, marks)
	}
}

// told fills a target, and says for each canary by which word it may be read; "" is none.
func told(t *testing.T, n byte) (Target, map[string]string, map[string]string) {
	t.Helper()
	c, ts, marks := &crm.Contact{}, &crm.Manifest{}, map[string]string{}
	canary(reflect.ValueOf(c).Elem(), fmt.Sprint(n, "contact"), marks)
	canary(reflect.ValueOf(ts).Elem(), fmt.Sprint(n, "tombstone"), marks)
	c.Account, c.ID = crm.AccountID{1}, crm.ContactID{n}
	absent := func(text string) string { marks["absent "+text] = text; return text }
	c.Tags = append(c.Tags, crm.Tag{Name: absent(fmt.Sprintf("<%d absent tag>", n)), Absent: true})
	c.Lists = append(c.Lists, crm.Membership{Status: crm.Status(absent(fmt.Sprintf("<%d absent list>", n))), Absent: true})
	var values []crm.Field
	for _, v := range []crm.Value{crm.Text(""), {Kind: crm.ListValue}} {
		f := crm.Field{Name: fmt.Sprintf("f%d", len(values)), Value: v}
		text := fmt.Sprintf("<%d %s>", n, f.Name)
		if f.Value.Text = text; v.Kind == crm.ListValue {
			f.Value.Text, f.Value.List = "", []string{text}
		}
		marks[f.Name] = text
		values = append(values, f)
	}
	c.Fields = append(values, crm.Field{Name: "gone", Value: crm.Text(absent(fmt.Sprintf("<%d absent field>", n))), Absent: true})
	may := map[string]string{"f0": "fields.f0", "f1": "fields.f1"}
	for path := range marks {
		rest := strings.TrimPrefix(path, fmt.Sprint(n, ""))
		for prefix, word := range map[string]string{"contact.Email.Value": "email", "contact.Phone.Value": "phone", "contact.External.Value": "external_id",
			"contact.Tags.Name": "tags", "contact.Lists.Status": "lists", "contact.DND.Name": "dnd",
			"tombstone.By.ID": "tombstone", "tombstone.Reason": "tombstone", "tombstone.Why.Kind": "tombstone"} {
			if rest == prefix {
				may[path] = word
			}
		}
	}
	return Target{Contact: c, Tombstone: ts, Life: crm.Life{Account: c.Account, Contact: c.ID, State: crm.Deleted, Epoch: 2}}, marks, may
}

// For every subset of what can be read, and a contact in every state: the bytes that go over the connection
// hold what was declared and, of the target as of the other ones, nothing else that is known of them.
func TestProjectionOnTheWire(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	one, marks, may := told(t, 1)
	other, more, mayMore := told(t, 2)
	if len(marks) < 25 {
		t.Fatalf("only %d canaries: %v", len(marks), slices.Sorted(maps.Keys(marks)))
	}
	words := slices.DeleteFunc(append([]string{"fields.f0", "fields.f1"}, actionv1.ReadWords...), func(w string) bool { return w == "created_at" })
	check := func(reads []string, sent string, marks, may map[string]string, state crm.State) {
		for path, mark := range marks {
			word := may[path]
			want := word != "" && state != crm.Purged && (slices.Contains(reads, word) || strings.HasPrefix(word, "fields.") && slices.Contains(reads, "fields")) &&
				(word != "tombstone" || state == crm.Deleted)
			if got := strings.Contains(sent, mark); got != want {
				t.Fatalf("reading %v of a contact that is %s, %s was sent: %t", reads, state, path, got)
			}
		}
	}
	for set := range 1 << len(words) {
		var reads []string
		for i, word := range words {
			if set&(1<<i) != 0 {
				reads = append(reads, word)
			}
		}
		state := crm.State(set % 3)
		states := []crm.State{state}
		if set < 64 || set == 1<<len(words)-1 {
			states = []crm.State{crm.Live, crm.Deleted, crm.Purged}
		}
		for _, state := range states {
			one.Life.State, other.Life.State = state, (state+1)%3
			sent := w.sends(t, reads, []Item{{Key: "k", Targets: []Target{one, other}}})
			check(reads, sent, marks, may, one.Life.State)
			check(reads, sent, more, mayMore, other.Life.State)
		}
	}
}
