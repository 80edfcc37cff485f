package actionv1

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
)

var update = flag.Bool("update", false, "renew the golden descriptor and the record of what the code was generated from")

const (
	goldenFile = "testdata/descriptor.golden"
	recordFile = "testdata/generated.sha256"
)

// describe lists everything of the protocol that a plugin in the field relies on, one a line, so
// that a change shows as a change of lines.
func describe(f protoreflect.FileDescriptor) []string {
	out := []string{"package " + string(f.Package())}
	for i := range f.Services().Len() {
		s := f.Services().Get(i)
		for j := range s.Methods().Len() {
			m := s.Methods().Get(j)
			out = append(out, fmt.Sprintf("rpc %s %s -> %s streaming %t %t", m.FullName(), m.Input().FullName(), m.Output().FullName(), m.IsStreamingClient(), m.IsStreamingServer()))
		}
	}
	for i := range f.Enums().Len() {
		for j := range f.Enums().Get(i).Values().Len() {
			v := f.Enums().Get(i).Values().Get(j)
			out = append(out, fmt.Sprintf("enum %s %s = %d", f.Enums().Get(i).FullName(), v.Name(), v.Number()))
		}
	}
	for i := range f.Messages().Len() {
		m := f.Messages().Get(i)
		out = append(out, "message "+string(m.FullName()))
		for j := range m.Fields().Len() {
			out = append(out, describeField(m.Fields().Get(j)))
		}
	}
	slices.Sort(out)
	return out
}

func describeField(d protoreflect.FieldDescriptor) string {
	kind := d.Kind().String()
	switch {
	case d.Message() != nil:
		kind = string(d.Message().FullName())
	case d.Enum() != nil:
		kind = string(d.Enum().FullName())
	}
	oneof := ""
	if o := d.ContainingOneof(); o != nil {
		oneof = " oneof " + string(o.Name())
	}
	return fmt.Sprintf("field %s %s %s = %d json %s%s", d.FullName(), d.Cardinality(), kind, d.Number(), d.JSONName(), oneof)
}

// lost gives what was promised and is there no more: a deleted, renamed, renumbered or retyped
// field, message, value or call.
func lost(golden, now []string) []string {
	var out []string
	for _, l := range golden {
		if !slices.Contains(now, l) {
			out = append(out, l)
		}
	}
	return out
}

func readLines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		if *update && os.IsNotExist(err) {
			return nil
		}
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

func TestProtocolOnlyGrows(t *testing.T) {
	now, golden := describe(File_action_proto), readLines(t, goldenFile)
	for _, l := range lost(golden, now) {
		t.Errorf("plugins in the field rely on this, and it is gone or changed: %s", l)
	}
	if t.Failed() {
		t.Fatal("add to the protocol, or begin version 2 beside it")
	}
	if *update {
		write(t, goldenFile, strings.Join(now, "\n")+"\n")
		return
	}
	for _, l := range lost(now, golden) {
		t.Errorf("not in the golden descriptor yet (go test . -update): %s", l)
	}
}

// The test above must be able to fail.
func TestLost(t *testing.T) {
	now := describe(File_action_proto)
	for i, l := range now {
		changed := slices.Clone(now)
		changed[i] = strings.Replace(l, " = ", " = 9", 1) + " "
		if got := lost(now, changed); len(got) != 1 || got[0] != l {
			t.Fatalf("a change of %q was not seen: %v", l, got)
		}
	}
}

// The generated code must be what action.proto gives. Without protoc that is a record of both sums,
// made when the code was generated, and a look that every name and number is in both.
func TestGeneratedIsCurrent(t *testing.T) {
	var record strings.Builder
	for _, name := range []string{"action.proto", "action.pb.go", "action_grpc.pb.go"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		fmt.Fprintf(&record, "%s  %s\n", hex.EncodeToString(sum[:]), name)
	}
	if *update {
		write(t, recordFile, record.String())
	} else if got := strings.Join(readLines(t, recordFile), "\n") + "\n"; got != record.String() {
		t.Errorf("the .proto or the generated code changed alone; run `go generate . && go test . -update`")
	}
	proto, err := os.ReadFile("action.proto")
	if err != nil {
		t.Fatal(err)
	}
	fields := regexp.MustCompile(`(?m)^ +(?:repeated )?[\w.]+ (\w+) = (\d+);`).FindAllSubmatch(proto, -1)
	var inCode []string
	for i := range File_action_proto.Messages().Len() {
		m := File_action_proto.Messages().Get(i)
		for j := range m.Fields().Len() {
			inCode = append(inCode, fmt.Sprintf("%s=%d", m.Fields().Get(j).Name(), m.Fields().Get(j).Number()))
		}
	}
	var inProto []string
	for _, f := range fields {
		inProto = append(inProto, fmt.Sprintf("%s=%s", f[1], f[2]))
	}
	slices.Sort(inCode)
	slices.Sort(inProto)
	if !slices.Equal(inCode, inProto) {
		t.Errorf("fields in the code and in the .proto differ:\n%v\n%v", inCode, inProto)
	}
}

func TestVersions(t *testing.T) {
	if want := fmt.Sprintf("reprieve.action.v%d", ProtocolVersion); string(File_action_proto.Package()) != want || CookieValue != want {
		t.Errorf("the package is %s, the cookie %s and the protocol version %d", File_action_proto.Package(), CookieValue, ProtocolVersion)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
