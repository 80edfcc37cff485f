package workflow

import (
	"strings"

	"github.com/reprieve-run/reprieve/triggers"
	"go.yaml.in/yaml/v3"
)

const endHint = "add `end: true` as the last line, so that half a file is never applied"

// unended says what is wrong with the end of a file, nil if the file says that it is whole. A beginning of
// a YAML file is as a rule a YAML file itself, and a shorter workflow is as a rule a workflow, one that
// deletes without its filter say; only what stands last can tell. Check reports it and not Parse: revisions
// from before there was an end still have to be read.
func (r *reader) unended(root *yaml.Node, got map[string]entry) *triggers.Diagnostic {
	e, ok := got["end"]
	if !ok {
		return r.diagnostic("error", codeEnd, r.lastWord(), endHint, "the file does not say where it ends")
	}
	last := root.Content[len(root.Content)-2]
	switch {
	case e.val.Kind != yaml.ScalarNode || e.val.Value != "true" || e.val.Tag != "!!bool":
		return r.diagnostic("error", codeEnd, r.span(e.val), "write end: true", "end must be true")
	case last != e.key && last.Value == "end": // there are two, which is said already
		return nil
	case last != e.key:
		return r.diagnostic("error", codeEnd, r.span(e.key), "move it behind "+last.Value+", to the last line", "end must be the last key of the file")
	}
	line, column := e.val.Line-1, e.val.Column-1+len(e.val.Value)
	flow := root.Style&yaml.FlowStyle != 0
	for ; line < len(r.runes); line, column = line+1, 0 {
		rest := string(r.runes[line][min(column, len(r.runes[line])):])
		text := strings.TrimLeft(rest, " \t")
		if flow && strings.HasPrefix(text, "}") { // it closes the root, or there would be no root
			flow, text = false, strings.TrimLeft(text[1:], " \t")
		}
		if text != "" {
			at := span{line + 1, len(r.runes[line]) - len([]rune(text)) + 1, len([]rune(strings.TrimRight(text, " \t")))}
			return r.diagnostic("error", codeEnd, at, "move it before the end, or delete it", "nothing may stand behind the end")
		}
	}
	return nil
}

// lastWord is the place of the last character that can be seen.
func (r *reader) lastWord() span {
	for i := len(r.lines) - 1; i >= 0; i-- {
		if text := strings.TrimRight(r.lines[i], " \t\r"); text != "" {
			return span{i + 1, len([]rune(text)), 1}
		}
	}
	return span{1, 1, 1}
}
