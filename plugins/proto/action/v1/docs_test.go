package actionv1

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

const docFile = "../../../../docs/plugin-protocol.md"

// The marks between which the document is made from action.proto and the constants.
const (
	docBegin = "<!-- made from plugins/proto/action/v1 by `go test ./plugins/proto/action/v1 -run TestProtocolDocument -update` -->\n"
	docEnd   = "<!-- end of what is made -->\n"
)

// The part of docs/plugin-protocol.md that lists calls, messages and fields is what action.proto says, comments
// and all. A field that is added and not told fails here.
func TestProtocolDocument(t *testing.T) {
	text, err := os.ReadFile(docFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), docBegin)
	_, after, ended := strings.Cut(rest, docEnd)
	if !ok || !ended {
		t.Fatalf("%s has not the marks", docFile)
	}
	source, err := os.ReadFile("action.proto")
	if err != nil {
		t.Fatal(err)
	}
	made := before + docBegin + "\n" + describeInWords(string(source)) + docEnd + after
	if *update {
		write(t, docFile, made)
	} else if made != string(text) {
		t.Errorf("%s is not what action.proto says: go test ./plugins/proto/action/v1 -run TestProtocolDocument -update", docFile)
	}
	for i := range File_action_proto.Messages().Len() {
		m := File_action_proto.Messages().Get(i)
		for j := range m.Fields().Len() {
			row := fmt.Sprintf("| %d | `%s` |", m.Fields().Get(j).Number(), m.Fields().Get(j).Name())
			if _, section, ok := strings.Cut(made, "#### "+string(m.Name())+"\n"); !ok || !strings.Contains(strings.Split(section, "\n#### ")[0], row) {
				t.Errorf("%s does not tell of %s", docFile, m.Fields().Get(j).FullName())
			}
		}
	}
	for _, said := range []string{CookieKey + "=" + CookieValue, "`PLUGIN_PROTOCOL_VERSIONS`", "`PLUGIN_UNIX_SOCKET_DIR`", "`PLUGIN_CLIENT_CERT`"} {
		if !strings.Contains(made, said) {
			t.Errorf("%s does not tell of %s", docFile, said)
		}
	}
}

// describeInWords gives a .proto of ours as Markdown: it knows the few forms that there are in it.
func describeInWords(source string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "### Limits of the wire\n\n| limit | |\n|---|---|\n")
	for _, l := range []struct {
		what string
		n    int
	}{
		{"items in one `Execute`", MaxItems}, {"bytes that the host sends in one `Execute`", MaxRequest},
		{"bytes that a plugin must be able to receive", MaxReceive}, {"bytes that the host accepts as a reply", MaxReply},
		{"bytes of one item's `output_json`", MaxOutput}, {"effects of one item", MaxEffects},
	} {
		fmt.Fprintf(&out, "| %s | %d |\n", l.what, l.n)
	}
	_, body, _ := strings.Cut(source, "\nservice ")
	out.WriteString("\n### Calls\n\n| call | gets | gives | |\n|---|---|---|---|\n")
	var said []string   // the comment that is being read
	var kind, of string // the block that is being read, and the oneof in it
	enum := false
	for _, line := range strings.Split("service "+body, "\n") {
		line = strings.TrimSpace(line)
		words := strings.Join(said, " ")
		switch {
		case strings.HasPrefix(line, "//"):
			said = append(said, strings.TrimSpace(strings.TrimPrefix(line, "//")))
			continue
		case blockLine.MatchString(line):
			m := blockLine.FindStringSubmatch(line)
			kind, enum = m[1], m[1] == "enum"
			if kind == "service" {
				break
			}
			if kind == "oneof" {
				of = m[2]
				break
			}
			if m[2] == "DescribeRequest" {
				out.WriteString("\n### Messages\n")
			}
			fmt.Fprintf(&out, "\n#### %s\n", m[2])
			if words != "" {
				fmt.Fprintf(&out, "\n%s\n", words)
			}
			if m[3] != "" {
				out.WriteString("\nIt has no fields.\n")
			} else if enum {
				out.WriteString("\n| number | name |\n|---|---|\n")
			} else {
				out.WriteString("\n| number | field | type | |\n|---|---|---|---|\n")
			}
		case callLine.MatchString(line):
			m := callLine.FindStringSubmatch(line)
			fmt.Fprintf(&out, "| `%s` | `%s` | `%s` | %s |\n", m[1], m[2], m[3], words)
		case fieldLine.MatchString(line):
			m := fieldLine.FindStringSubmatch(line)
			if of != "" {
				m[1] += ", one of `" + of + "`"
			}
			fmt.Fprintf(&out, "| %s | `%s` | %s | %s |\n", m[3], m[2], m[1], words)
		case valueLine.MatchString(line):
			m := valueLine.FindStringSubmatch(line)
			fmt.Fprintf(&out, "| %s | `%s` |\n", m[2], m[1])
		case line == "}":
			of = ""
		}
		said = nil
	}
	return out.String() + "\n"
}

var (
	blockLine = regexp.MustCompile(`^(service|message|enum|oneof) (\w+) \{(\})?$`)
	callLine  = regexp.MustCompile(`^rpc (\w+)\((\w+)\) returns \((\w+)\);$`)
	fieldLine = regexp.MustCompile(`^((?:repeated )?[\w.]+) (\w+) = (\d+);$`)
	valueLine = regexp.MustCompile(`^(\w+) = (\d+);$`)
)
