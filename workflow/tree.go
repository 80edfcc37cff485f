package workflow

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/reprieve-run/reprieve/triggers"
	"go.yaml.in/yaml/v3"
)

// maxDepth is how deep mappings and lists may be nested.
const maxDepth = 32

// reader collects what is wrong with a file while it is read. Nothing it does stops at a mistake.
type reader struct {
	*file
	found triggers.Diagnostics
	typos map[*yaml.Node][]string // by mapping, the keys that its unknown ones were probably meant to be
}

func (r *reader) fail(code string, s span, hint, format string, args ...any) {
	r.found = append(r.found, r.diagnostic("error", code, s, hint, format, args...))
}

// take keeps what package triggers found; what has no place of its own is put at s.
func (r *reader) take(err error, s span) {
	if err == nil {
		return
	}
	found := triggers.Findings(err)
	if len(found) == 0 {
		r.fail(codeSchedule, s, "", "%v", err)
	}
	for _, d := range found {
		if d.Line == 0 {
			d.Line, d.Column, d.Length = s.line, s.column, s.length
		}
		d.File = r.name
		r.place(d)
		r.found = append(r.found, d)
	}
}

// span gives the place of a node: all of a scalar as far as it is on one line, else its first token.
func (r *reader) span(n *yaml.Node) span {
	s := span{n.Line, n.Column, 1}
	switch {
	case n.Kind == yaml.MappingNode && n.Style&yaml.FlowStyle == 0 && len(n.Content) > 0:
		return r.span(n.Content[0])
	case n.Kind != yaml.ScalarNode || n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return s
	}
	ms := r.marks(n)
	for _, m := range ms {
		if m.line+1 == n.Line {
			s.length = m.column + 2 - n.Column
		}
	}
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 && len(ms) > 0 {
		s.length++ // the closing quote
	}
	return s
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// yamlHints say what usually lies behind a parser's words.
var yamlHints = []struct{ words, hint string }{
	{"cannot start any token", "indent with spaces, and put a text that begins with a sign in quotes"},
	{"tab character", "indent with spaces"},
	{"mapping values are not allowed", "put a text that holds \": \" in quotes, and check the indentation"},
	{"did not find expected key", "check the indentation of this line and of the one before"},
	{"could not find expected ':'", "a key is followed by a colon and a space"},
	{"node content", "a value is missing, or a bracket is closed by another kind"},
	{"did not find expected ',' or", "close the bracket, and put a text with brackets or ${ } within brackets in quotes"},
	{"unexpected end of stream", "a quote is not closed"},
	{"unknown anchor", "aliases are not part of the format: write the value out; quote a text that begins with *"},
}

// decode runs the YAML parser. The root is nil if there is nothing to go on with.
func (r *reader) decode(text string) (root *yaml.Node) {
	// The parser reports its own inconsistencies by panicking; no file may end the process.
	defer func() {
		if p := recover(); p != nil {
			r.fail(codeSyntax, span{1, 1, 1}, "simplify the file, and please report it", "the YAML parser gave up")
			root = nil
		}
	}()
	dec := yaml.NewDecoder(strings.NewReader(text))
	var doc, second yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		r.fail(codeSyntax, span{1, 1, 1}, "begin with: version: 1", "the file is empty")
		return nil
	case err != nil:
		r.syntax(text, err)
		return nil
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		r.fail(codeDocument, span{second.Line, second.Column, 3}, "put each workflow into a file of its own",
			"a second document begins here")
	case !errors.Is(err, io.EOF):
		r.syntax(text, err)
	}
	return doc.Content[0]
}

func (r *reader) syntax(text string, err error) {
	m := yamlLine.FindStringSubmatch(err.Error())
	line, message := 1, err.Error()
	if m != nil {
		message = message[len(m[0]):]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
	}
	inFlow := strings.Contains(message, "',' or") || strings.Contains(message, "node content")
	if n := brokenLine(text); n > line || n > 0 && !inFlow { // in brackets over many lines the parser knows better
		line = n
	}
	hint := "check indentation, quotes and brackets here and just before"
	for _, h := range yamlHints {
		if strings.Contains(message, h.words) {
			hint = h.hint
			break
		}
	}
	r.fail(codeSyntax, r.firstWord(line), hint, "%s", message)
}

// brokenLine finds the line behind the longest beginning of the text that is YAML: the mistake, or
// the quote or bracket that is never closed. The parser only says where the list or mapping around it
// begins, or nothing. It gives 0 where looking would take too long.
func brokenLine(text string) int {
	budget := 1 << 20 // bytes to parse
	for end := strings.LastIndexByte(text, '\n'); end >= 0; end = strings.LastIndexByte(text[:end], '\n') {
		if budget -= end; budget < 0 {
			return 0
		}
		dec := yaml.NewDecoder(strings.NewReader(text[:end+1]))
		var n yaml.Node
		err := dec.Decode(&n)
		for err == nil {
			err = dec.Decode(&n)
		}
		if errors.Is(err, io.EOF) {
			return strings.Count(text[:end], "\n") + 2
		}
	}
	return 1
}

// guard refuses what YAML can do and the format cannot. It reports false if the tree is too deep to
// be read any further.
func (r *reader) guard(n *yaml.Node, depth int) bool {
	first := rune(0)
	if l := n.Line - 1; l >= 0 && l < len(r.runes) && n.Column <= len(r.runes[l]) && n.Column > 0 {
		first = r.runes[l][n.Column-1]
	}
	switch {
	case depth > maxDepth:
		r.fail(codeDepth, r.span(n), "flatten it: put later steps behind the branch instead of into it",
			"nested deeper than %d levels", maxDepth)
		return false
	case n.Kind == yaml.AliasNode:
		r.fail(codeAnchor, span{n.Line, n.Column, len(n.Value) + 1}, "write the value out", "aliases are not part of the format")
		return true
	case n.Anchor != "":
		r.fail(codeAnchor, span{n.Line, n.Column, 1}, "write the value out where it is needed", "anchors are not part of the format")
	case n.Style&yaml.TaggedStyle != 0 || first == '!' && !startsWithKey(n):
		r.fail(codeTag, span{n.Line, n.Column, 1}, "remove it; quote a value that is meant as text", "tags are not part of the format")
	case n.Kind == yaml.ScalarNode && n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		header := r.runes[n.Line-1][n.Column-1:]
		if i := slices.IndexFunc(header[:min(3, len(header))], func(c rune) bool { return '0' <= c && c <= '9' }); i > 0 {
			r.fail(codeIndicator, span{n.Line, n.Column, i + 1}, "remove the digit, and let the first line show the indentation",
				"a block of text cannot say its own indentation")
		}
	}
	ok := true
	if n.Kind == yaml.MappingNode {
		r.guardKeys(n)
	}
	for _, c := range n.Content {
		ok = r.guard(c, depth+1) && ok
	}
	return ok
}

// startsWithKey says whether a node's first character is that of its first key.
func startsWithKey(n *yaml.Node) bool {
	return n.Kind == yaml.MappingNode && len(n.Content) > 0 && n.Content[0].Line == n.Line && n.Content[0].Column == n.Column
}

// guardKeys refuses keys that are no plain words, merge keys and keys that come twice.
func (r *reader) guardKeys(n *yaml.Node) {
	seen := map[string]int{}
	for i := 0; i < len(n.Content); i += 2 {
		k := n.Content[i]
		switch {
		case k.Kind == yaml.AliasNode: // guard says it
		case k.Kind == yaml.MappingNode && n.Style&yaml.FlowStyle != 0: // {{ x }}
			r.fail(codeType, r.span(k), "an expression in a text stands in ${ }, and the text in quotes: \"${ contact.first_name }\"", "a key must be a word")
		case k.Kind != yaml.ScalarNode || k.Value == "":
			r.fail(codeType, r.span(k), "write a word, a colon and a space", "a key must be a word")
		case k.Tag == "!!merge":
			r.fail(codeAnchor, r.span(k), "write the keys out", "merge keys are not part of the format")
		case seen[k.Value] > 0:
			r.fail(codeDuplicate, r.span(k), "keep one of the two", "%s is already on line %d", k.Value, seen[k.Value])
		default:
			seen[k.Value] = k.Line
		}
	}
}

// entry is one key of a mapping with its value.
type entry struct{ key, val *yaml.Node }

// keys describes what a mapping may hold: key to "" or, for a key that cannot be used, why not.
type keys map[string]string

func (k keys) add(note string, names ...string) {
	for _, n := range names {
		k[n] = note
	}
}

// later marks a key of the format that nothing honours yet.
const later = "later"

// fields reads a mapping's entries and refuses keys that are not in known. Nil: n is no mapping.
func (r *reader) fields(n *yaml.Node, what string, known keys) map[string]entry {
	if n.Kind != yaml.MappingNode {
		if n.Kind != yaml.AliasNode {
			hint := "write keys and values: key: value"
			if better := insteadOf(what, n.Value); n.Kind == yaml.ScalarNode && better != "" {
				hint = better
			}
			r.fail(codeType, r.span(n), hint, "%s must be a mapping, not %s", what, kindOf(n))
		}
		return nil
	}
	usable := []string{}
	for _, k := range slices.Sorted(maps.Keys(known)) {
		if known[k] == "" {
			usable = append(usable, k)
		}
	}
	got := map[string]entry{}
	for i := 0; i < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind != yaml.ScalarNode || k.Value == "" || k.Tag == "!!merge" {
			continue // guard says it
		}
		note, is := known[k.Value]
		switch {
		case !is:
			r.typos[n] = append(r.typos[n], nearest(k.Value, usable))
			r.fail(codeKey, r.span(k), meant(k.Value, usable), "%s has no key %q", what, k.Value)
		case note == later:
			r.fail(codeLater, r.span(k), "leave it out for now", "%s is not supported yet", k.Value)
		case note != "":
			r.fail(codeKey, r.span(k), note, "%s has no key %q", what, k.Value)
		default:
			if _, twice := got[k.Value]; !twice {
				got[k.Value] = entry{k, n.Content[i+1]}
			}
		}
	}
	return got
}

// need reports the keys that a mapping lacks, at the mapping's first token, unless one that was
// misspelt has been reported already.
func (r *reader) need(n *yaml.Node, what string, got map[string]entry, names ...string) {
	for _, name := range names {
		if _, ok := got[name]; !ok && !r.hasKey(n, name) && !slices.Contains(r.typos[n], name) {
			r.fail(codeMissing, r.span(n), fmt.Sprintf("add %s:", name), "%s needs the key %q", what, name)
		}
	}
}

func (r *reader) hasKey(n *yaml.Node, name string) bool {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return true
		}
	}
	return false
}

// kindOf names what a node is.
func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!null":
		return "nothing"
	}
	return "text"
}

// scalar accepts any single value, as for an expression: `if: true` is one.
func (r *reader) scalar(e entry) bool {
	switch {
	case e.val == nil || e.val.Kind == yaml.AliasNode:
		return false
	case e.val.Kind != yaml.ScalarNode:
		r.fail(codeType, r.span(e.val), "write one value behind the colon", "%s must be a single value, not %s", e.key.Value, kindOf(e.val))
		return false
	case e.val.Tag == "!!null":
		r.fail(codeType, r.span(e.key), "give it a value, or leave the key out", "%s has no value", e.key.Value)
		return false
	}
	return true
}

// text accepts text; a number or a truth value must be in quotes to be one.
func (r *reader) text(e entry) (string, bool) {
	if !r.scalar(e) {
		return "", false
	}
	if k := kindOf(e.val); k != "text" {
		r.fail(codeType, r.span(e.val), fmt.Sprintf("write '%s', with the quotes", e.val.Value), "%s must be text, not %s", e.key.Value, k)
		return "", false
	}
	return e.val.Value, true
}

// oneOf accepts one of several words and gives "" for anything else, also for an absent entry.
func (r *reader) oneOf(e entry, words ...string) string {
	if !r.scalar(e) {
		return ""
	}
	if !slices.Contains(words, e.val.Value) {
		r.fail(codeValue, r.span(e.val), meant(e.val.Value, words), "%s cannot be %q", e.key.Value, e.val.Value)
		return ""
	}
	return e.val.Value
}

// list gives the items of a list of mappings.
func (r *reader) list(e entry) []*yaml.Node {
	switch {
	case e.val == nil || e.val.Kind == yaml.AliasNode:
	case e.val.Kind == yaml.SequenceNode:
		return e.val.Content
	case e.val.Tag == "!!null":
		r.fail(codeType, r.span(e.key), "write a list: each item on a line with -", "%s has no value", e.key.Value)
	default:
		r.fail(codeType, r.span(e.val), "begin each item with -", "%s must be a list, not %s", e.key.Value, kindOf(e.val))
	}
	return nil
}

// id accepts a name of the form given, "" for anything else.
func (r *reader) id(e entry, form *regexp.Regexp, hint string) string {
	s, ok := r.text(e)
	if ok && !form.MatchString(s) {
		r.fail(codeName, r.span(e.val), hint, "%q is not an id", s)
		return ""
	}
	return s
}

// ownID accepts the id of a step or a trigger, which must not be in lines yet, and puts it there.
func (r *reader) ownID(e entry, lines map[string]int, what, hint string) string {
	id := r.id(e, stepID, stepIDHint)
	switch line := lines[id]; {
	case id == "":
	case line > 0:
		r.fail(codeTwice, r.span(e.val), hint, "the %s id %s is already on line %d", what, id, line)
	default:
		lines[id] = e.val.Line
	}
	return id
}

// source hands a scalar to package triggers.
func (r *reader) source(n *yaml.Node, scope triggers.Scope) triggers.Source {
	return triggers.Source{File: r.name, Text: n.Value, At: r.at(n), Lines: r.lines, Scope: scope}
}
