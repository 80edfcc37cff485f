package plugins

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
)

// example builds examples/plugin-go as its author would and gives a folder ready to be installed.
func example(t *testing.T) string {
	t.Helper()
	binary, err := buildExample()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put(t, filepath.Join(dir, "acme"), binary)
	manifest, err := os.ReadFile("../examples/plugin-go/plugin.yaml")
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "plugin.yaml"), manifest)
	return dir
}

var buildExample = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "rp")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "acme")
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", out, ".")
	cmd.Dir = "../examples/plugin-go"
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOPROXY=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	return os.ReadFile(out)
})

func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

func flagBatch() Batch {
	b := batch("", live(1), live(2))
	for i := range b.Items {
		b.Items[i].Params = []byte(`{"plan":"gold","tag":"VIP"}`)
	}
	b.Items[0].Targets[0].Contact.Fields = []crm.Field{{Name: "plan", Value: crm.Text("gold")}}
	return b
}

func works(t *testing.T, h *Host) {
	t.Helper()
	out, err := h.Execute(t.Context(), "acme.flag", flagBatch())
	if err != nil || out[0].Status != Done || len(out[0].Effects) != 1 || out[0].Effects[0].Tag != "VIP" ||
		len(out[0].Output) > 0 || out[1].Status != Skip {
		t.Fatalf("%+v, %v", out, err)
	}
}

func TestInstall(t *testing.T) {
	t.Parallel()
	plugins := filepath.Join(t.TempDir(), "plugins")
	h, _ := newHost(t, Options{Dir: plugins}, "test.a")
	from := example(t)
	m, err := h.Install(from)
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "acme" || m.Version != "1.0.0" || len(m.SHA256["any"]) != 64 || !m.Current || len(m.Files) != 2 || len(m.Actions) != 1 ||
		fmt.Sprint(m.Actions[0].Reads, m.Actions[0].Effects) != "[fields.plan] [tag.add]" {
		t.Fatalf("%+v", m)
	}
	works(t, h)
	lock, err := os.ReadFile(filepath.Join(plugins, "plugins.lock"))
	if err != nil {
		t.Fatal(err)
	}
	pid := h.Processes()[0].PID
	if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && !strings.HasPrefix(exe, "/memfd:") {
		t.Errorf("it executes %s, which can be swapped", exe)
	}
	if _, err := h.Install(from); err != nil { // over itself
		t.Fatal(err)
	}
	gone(t, pid)
	works(t, h)
	again, _ := os.ReadFile(filepath.Join(plugins, "plugins.lock"))
	if string(again) != string(lock) {
		t.Errorf("the lock file is not stable:\n%s\n%s", lock, again)
	}
	other, _ := newHost(t, Options{Dir: plugins})
	works(t, other)
	all, err := other.Catalogue(t.Context())
	if s := all["acme.flag"]; err != nil || s.Plugin != "acme" || s.Summary == "" || !json.Valid(s.Schema) || s.Broken != nil {
		t.Errorf("%+v, %v", s, err)
	}
}

// Whatever differs from what was installed is refused, and works again once it is put back.
func TestChangedIsRefused(t *testing.T) {
	t.Parallel()
	plugins := filepath.Join(t.TempDir(), "plugins")
	installer, _ := newHost(t, Options{Dir: plugins})
	if _, err := installer.Install(example(t)); err != nil {
		t.Fatal(err)
	}
	lock, acme := filepath.Join(plugins, "plugins.lock"), filepath.Join(plugins, "acme", "1.0.0")
	edit := func(path, from, to string) func(t *testing.T) {
		return func(t *testing.T) {
			old, err := os.ReadFile(path)
			if err != nil || !strings.Contains(string(old), from) {
				t.Fatal(err)
			}
			put(t, path, []byte(strings.Replace(string(old), from, to, 1)))
			t.Cleanup(func() { put(t, path, old) })
		}
	}
	tests := []struct {
		name   string
		change func(t *testing.T)
	}{
		{"the binary is another", edit(filepath.Join(acme, "acme"), "acme.flag", "acme.flog")},
		{"plugin.yaml is another", edit(filepath.Join(acme, "plugin.yaml"), "Tags", "Flags")},
		{"a file was added", func(t *testing.T) {
			put(t, filepath.Join(acme, "lib.so"), nil)
			t.Cleanup(func() { os.Remove(filepath.Join(acme, "lib.so")) })
		}},
		{"a link was added", func(t *testing.T) {
			if err := os.Symlink("/etc/passwd", filepath.Join(acme, "x")); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.Remove(filepath.Join(acme, "x")) })
		}},
		{"the lock grants other reads", edit(lock, "fields.plan", "fields.age")},
		{"the lock grants other effects", edit(lock, "tag.add", "tag.remove")},
		{"the lock says another version", edit(lock, `"version": "1.0.0"`, `"version": "1.0.1"`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.change(t)
			h, _ := newHost(t, Options{Dir: plugins})
			out, err := h.Execute(t.Context(), "acme.flag", flagBatch())
			if code := crm.CodeOf(err); code != crm.CodeDenied && tt.name != "a link was added" || err == nil || out[0].Code != CodeNotSent {
				t.Errorf("%+v, %v", out, err)
			}
			all, err := h.Catalogue(t.Context())
			if err != nil || all["acme.flag"].Broken == nil {
				t.Errorf("the catalogue says %+v, %v", all, err)
			}
		})
	}
	h, _ := newHost(t, Options{Dir: plugins})
	works(t, h)
	// A swap under a running plugin shows at its next start.
	edit(filepath.Join(acme, "acme"), "acme.flag", "acme.flog")(t)
	works(t, h)
	pid := h.Processes()[0].PID
	if pid == 0 {
		t.Fatal("it does not run")
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	gone(t, pid)
	var err error
	for range 3 { // the first call may still meet the dying process
		if _, err = h.Execute(t.Context(), "acme.flag", flagBatch()); crm.CodeOf(err) == crm.CodeDenied {
			return
		}
	}
	t.Errorf("the swapped binary: %v", err)
}

func TestInstallRefuses(t *testing.T) {
	t.Parallel()
	plugins := filepath.Join(t.TempDir(), "plugins")
	h, _ := newHost(t, Options{Dir: plugins}, "contact.delete")
	manifest := func(text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { put(t, filepath.Join(dir, "plugin.yaml"), []byte(text)) }
	}
	tests := []struct {
		name   string
		change func(t *testing.T, dir string)
	}{
		{"no manifest", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "plugin.yaml")) }},
		{"no command", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "acme")) }},
		{"no program", func(t *testing.T, dir string) { put(t, filepath.Join(dir, "acme"), []byte("hello")) }},
		{"another protocol", manifest("{name: acme, version: 1.0.0, protocol: 2, command: acme}")},
		{"an unknown key", manifest("{name: acme, version: 1.0.0, protocol: 1, command: acme, root: true}")},
		{"a second document", manifest("{name: acme, version: 1.0.0, protocol: 1, command: acme}\n---\n{}\n")},
		{"a command outside", manifest("{name: acme, version: 1.0.0, protocol: 1, command: ../acme}")},
		{"an absolute command", manifest("{name: acme, version: 1.0.0, protocol: 1, command: /bin/true}")},
		{"a name with a path", manifest("{name: ../acme, version: 1.0.0, protocol: 1, command: acme}")},
		{"the name of a built-in", manifest("{name: contact, version: 1.0.0, protocol: 1, command: acme}")},
		{"another name", manifest("{name: acne, version: 1.0.0, protocol: 1, command: acme}")},
		{"another version", manifest("{name: acme, version: 1.0.1, protocol: 1, command: acme}")},
		{"a link", func(t *testing.T, dir string) {
			if err := os.Symlink("/etc/passwd", filepath.Join(dir, "x")); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := example(t)
			tt.change(t, dir)
			_, err := h.Install(dir)
			if e, ok := err.(*crm.Error); !ok || e.Hint == "" {
				t.Errorf("%v", err)
			}
			if left, _ := os.ReadDir(plugins); len(left) != 0 {
				t.Errorf("it left %v", left)
			}
			if ps := h.Processes(); len(ps) != 1 {
				t.Errorf("it is known: %+v", ps)
			}
		})
	}
}

func TestUnlisted(t *testing.T) {
	t.Parallel()
	plugins := t.TempDir()
	put(t, filepath.Join(plugins, "sneaky", "plugin.yaml"), []byte("{name: sneaky, version: 1, protocol: 1, command: x}"))
	h, _ := newHost(t, Options{Dir: plugins})
	if all, err := h.Catalogue(t.Context()); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
	if ps := h.Processes(); len(ps) != 1 || crm.CodeOf(ps[0].Broken) != crm.CodeDenied {
		t.Errorf("%+v", ps)
	}
	if _, err := h.Execute(t.Context(), "sneaky.act", batch("", live(1))); crm.CodeOf(err) != crm.CodeNotFound {
		t.Error(err)
	}
}

func TestBadLock(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"{", `{"version":3}`, `{"version":1,"more":1}`, `{"version":2,"more":1}`,
		`{"version":2,"plugins":[{"name":"x","current":"1","versions":[{"name":"y","version":"1","protocol":1,"command":{"any":"x"}}]}]}`,
		`{"version":2,"plugins":[{"name":"x","current":"1","versions":[{"name":"x","version":"../1","protocol":1,"command":{"any":"x"}}]}]}`,
		`{"version":2,"plugins":[{"name":"x"},{"name":"x"}]}`,
		`{"version":1,"plugins":[{"name":"../x","version":"1","protocol":1,"command":"x"}]}`,
		`{"version":1,"plugins":[{"name":"x","version":"1","protocol":1,"command":"/bin/sh"}]}`,
		`{"version":1,"plugins":[{"name":"x","version":"1","protocol":1,"command":"x","actions":[{"action":"contact.delete"}]}]}`,
	} {
		dir := t.TempDir()
		put(t, filepath.Join(dir, "plugins.lock"), []byte(text))
		if _, err := New(Options{RunDir: tempDir(t), Dir: dir}); crm.CodeOf(err) != crm.CodeInvalid {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte("{name: acme, version: 1.0.0, protocol: 1, command: ./acme}"))
	f.Add([]byte("{name: acme, version: 1.0.0, protocol: 1, command: {linux/amd64: ./bin/a, any: b}}"))
	f.Add([]byte("{name: acme, version: .., protocol: 1, command: ./acme}"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("---\n---\n"))
	h := &Host{}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseManifest(text)
		if err != nil || h.admissible(m) != nil {
			return
		}
		for platform := range m.Command {
			if p := filepath.Join("/plugins", m.Name, m.Version, m.Command.on(platform)); !strings.HasPrefix(p, "/plugins/"+m.Name+"/"+m.Version+"/") {
				t.Errorf("%q leaves its folder", p)
			}
		}
	})
}
