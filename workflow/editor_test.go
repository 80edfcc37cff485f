package workflow

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// languageServer gives the path of the YAML language server: that of a folder that was prepared, or one that
// is installed now. Without npm, without a network, or in a short run the test is skipped.
func languageServer(t *testing.T) string {
	t.Helper()
	const bin = "node_modules/yaml-language-server/bin/yaml-language-server"
	dir := os.Getenv("REPRIEVE_YAML_LS")
	if dir != "" {
		return filepath.Join(dir, bin)
	}
	if testing.Short() {
		t.Skip("a short run installs nothing; REPRIEVE_YAML_LS names a folder with the YAML language server")
	}
	for _, tool := range []string{"npm", "node"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("there is no %s, so the YAML language server cannot be had", tool)
		}
	}
	dir = t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "testdata/editor/install.sh", dir)
	install.WaitDelay = time.Second
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("the YAML language server cannot be installed (no network?): %v\n%s", err, out)
	}
	return filepath.Join(dir, bin)
}

// editor is an editor's side of the language server protocol.
type editor struct {
	t    *testing.T
	in   io.Writer
	out  *bufio.Reader
	next int
	told map[string]string // by file, the diagnostics last published
}

type message struct {
	ID     json.RawMessage `json:"id,omitempty"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  json.RawMessage `json:"error,omitempty"`
}

func newEditor(t *testing.T) *editor {
	t.Helper()
	path := languageServer(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // a server that falls silent is killed
	cmd := exec.CommandContext(ctx, "node", path, "--stdio")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	e := &editor{t: t, in: in, out: bufio.NewReader(out), told: map[string]string{}}
	e.ask("initialize", js{"processId": os.Getpid(), "rootUri": nil, "capabilities": js{
		"workspace":    js{"configuration": true},
		"textDocument": js{"hover": js{"contentFormat": jsList{"markdown"}}, "completion": js{"completionItem": js{}}}}})
	e.tell("initialized", js{})
	return e
}

func (e *editor) send(m js) {
	e.t.Helper()
	m["jsonrpc"] = "2.0"
	raw, err := json.Marshal(m)
	if err != nil {
		e.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(e.in, "Content-Length: %d\r\n\r\n%s", len(raw), raw); err != nil {
		e.t.Fatal(err)
	}
}

func (e *editor) tell(method string, params js) {
	e.t.Helper()
	e.send(js{"method": method, "params": params})
}

// ask sends a request and gives its answer, answering on the way what the server asks.
func (e *editor) ask(method string, params js) json.RawMessage {
	e.t.Helper()
	e.next++
	id := strconv.Itoa(e.next)
	e.send(js{"id": e.next, "method": method, "params": params})
	for {
		if m := e.receive(); m.Method == "" && string(m.ID) == id {
			if m.Error != nil {
				e.t.Fatalf("%s: %s", method, m.Error)
			}
			return m.Result
		}
	}
}

// settings of the server: nothing is fetched from anywhere.
var settings = js{"validate": true, "hover": true, "completion": true, "schemaStore": js{"enable": false}}

// receive reads one message, and answers it if it is a request of the server.
func (e *editor) receive() message {
	e.t.Helper()
	head, err := textproto.NewReader(e.out).ReadMIMEHeader()
	if err != nil {
		e.t.Fatal(err)
	}
	n, err := strconv.Atoi(head.Get("Content-Length"))
	if err != nil {
		e.t.Fatal(err)
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(e.out, raw); err != nil {
		e.t.Fatal(err)
	}
	var m message
	if err := json.Unmarshal(raw, &m); err != nil {
		e.t.Fatal(err)
	}
	switch {
	case m.Method == "textDocument/publishDiagnostics":
		var p struct {
			URI         string
			Diagnostics []struct {
				Range   struct{ Start struct{ Line int } }
				Message string
			}
		}
		if err := json.Unmarshal(m.Params, &p); err != nil {
			e.t.Fatal(err)
		}
		var lines []string
		for _, d := range p.Diagnostics {
			lines = append(lines, fmt.Sprintf("%d: %s", d.Range.Start.Line+1, d.Message))
		}
		e.told[p.URI] = strings.Join(lines, "\n") + "\n"
	case m.Method == "workspace/configuration":
		var p struct{ Items []struct{ Section string } }
		if err := json.Unmarshal(m.Params, &p); err != nil {
			e.t.Fatal(err)
		}
		all := make(jsList, len(p.Items))
		for i, it := range p.Items {
			if all[i] = js(nil); it.Section == "yaml" {
				all[i] = settings
			}
		}
		e.send(js{"id": m.ID, "result": all})
	case m.Method != "" && m.ID != nil:
		e.send(js{"id": m.ID, "result": nil})
	}
	return m
}

// open opens a file and waits for what the server says of it.
func (e *editor) open(name, text string) (uri, diagnostics string) {
	e.t.Helper()
	uri = "file://" + name
	e.tell("textDocument/didOpen", js{"textDocument": js{"uri": uri, "languageId": "yaml", "version": 1, "text": text}})
	for {
		if said, ok := e.told[uri]; ok {
			return uri, said
		}
		e.receive()
	}
}

func place(uri string, line, column int) js {
	return js{"textDocument": js{"uri": uri}, "position": js{"line": line - 1, "character": column - 1}}
}

// TestEditor has the language server that editors use for YAML work with the schema.
func TestEditor(t *testing.T) {
	t.Parallel()
	e := newEditor(t)
	dir := t.TempDir()
	schema := filepath.Join(dir, "workflow.schema.json")
	if err := os.WriteFile(schema, Schema(schemaCatalogue), 0o600); err != nil {
		t.Fatal(err)
	}
	const body = `# yaml-language-server: $schema=SCHEMA
version: 1
id: greet
triggers:
  - {id: tagged, event: contact.tag_added}
steps:
  - id: greet
    action: log.write
    with: {text: hello}
end: true
`
	head := strings.Replace(body, "SCHEMA", "file://"+schema, 1)
	good, said := e.open(filepath.Join(dir, "good.yaml"), head)
	if said != "\n" {
		t.Errorf("of a good file the server says\n%s", said)
	}
	for i, bad := range []struct{ what, old, new, says string }{
		{"an unknown key", "    with:", "    wiht:", "9: Property wiht is not allowed"},
		{"an unknown key of a trigger", "event: contact.tag_added", "event: contact.tag_added, iff: a", "5: Property iff is not allowed"},
		{"an unknown event", "contact.tag_added", "contact.taged", "5: Value is not accepted. Valid values:"},
		{"an unknown action", "log.write", "log.wirte", "8: Value is not accepted. Valid values:"},
		{"an unknown parameter", "text: hello", "text: hello, txet: a", "9: Property txet is not allowed"},
		{"a wrong word of a parameter", "text: hello", "text: hello, level: loud", "Valid values: \"info\", \"error\""},
		{"a missing key", "id: greet\ntriggers", "triggers", "Missing property \"id\""},
	} {
		if _, said := e.open(filepath.Join(dir, fmt.Sprintf("bad%d.yaml", i)), strings.Replace(head, bad.old, bad.new, 1)); !strings.Contains(said, bad.says) {
			t.Errorf("%s: the server says\n%s, which lacks %q", bad.what, said, bad.says)
		}
	}
	if hover := string(e.ask("textDocument/hover", place(good, 8, 6))); !strings.Contains(hover, "The action that a plugin executes") {
		t.Errorf("over action the server shows %s", hover)
	}
	if hover := string(e.ask("textDocument/hover", place(good, 4, 3))); !strings.Contains(hover, "What starts runs") {
		t.Errorf("over triggers the server shows %s", hover)
	}
	for i, c := range []struct {
		tail         string
		line, column int
		want         []string
	}{
		{"", 10, 1, []string{"filter", "name", "run"}},
		{"  - id: more\n    \n", 11, 5, []string{"action", "branch", "exit", "wait"}},
		{"  - id: more\n    action: \n", 11, 13, []string{"contact.delete", "log.write"}},
		{"run:\n  \n", 11, 3, []string{"key", "mode"}},
	} {
		uri, _ := e.open(filepath.Join(dir, fmt.Sprintf("more%d.yaml", i)), strings.TrimSuffix(head, "end: true\n")+c.tail)
		var got struct{ Items []struct{ Label string } }
		if err := json.Unmarshal(e.ask("textDocument/completion", place(uri, c.line, c.column)), &got); err != nil {
			t.Fatal(err)
		}
		var labels []string
		for _, it := range got.Items {
			labels = append(labels, it.Label)
		}
		for _, w := range c.want {
			if !slices.Contains(labels, w) {
				t.Errorf("at %d:%d the server offers %v, not %s", c.line, c.column, labels, w)
			}
		}
	}
}
