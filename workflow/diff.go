package workflow

import (
	"fmt"
	"maps"
	"slices"
	"sort"

	"go.yaml.in/yaml/v3"
)

// What a part of a workflow became.
const (
	Added   = "added"
	Removed = "removed"
	Changed = "changed"
	Moved   = "moved" // it says what it said, elsewhere
)

// Change is what became of one trigger, step or setting between two revisions.
type Change struct {
	ID   string `json:"id"` // of the trigger or step; the key of a setting, as in run.key
	What string `json:"what"`
	Keys []Edit `json:"keys,omitempty"` // of what changed: which keys
}

// Edit is a key whose value differs, each on one line; "" where there was or is none.
type Edit struct {
	Key string `json:"key"`
	Old string `json:"old,omitempty"`
	New string `json:"new,omitempty"`
}

// Difference is what distinguishes two revisions of a workflow. Comments, quoting and the order of keys do
// not: revisions that differ in nothing else have none.
type Difference struct {
	Settings []Change `json:"settings,omitempty"`
	Triggers []Change `json:"triggers,omitempty"`
	Steps    []Change `json:"steps,omitempty"`
}

// Empty says whether the two do the same.
func (d Difference) Empty() bool {
	return len(d.Settings)+len(d.Triggers)+len(d.Steps) == 0
}

// Diff compares two revisions. Steps and triggers are the same if their ids are: runs stand at steps by id.
// A nil workflow is one without anything.
func Diff(was, is *Workflow) Difference {
	var a, b outline
	if was != nil {
		a = was.outline()
	}
	if is != nil {
		b = is.outline()
	}
	return Difference{
		Settings: edits(a.settings, b.settings),
		Triggers: items(triggerPlaces(a), triggerPlaces(b)),
		Steps:    items(stepPlaces(a), stepPlaces(b)),
	}
}

// part is a trigger or step with where it stands.
type part struct {
	item
	below string // the step, and which way out of it, that it stands below
}

func triggerPlaces(o outline) (all []part) {
	for _, t := range o.triggers {
		all = append(all, part{item: t})
	}
	return all
}

func stepPlaces(o outline) []part {
	var all []part
	var add func(steps []stepText, below string)
	add = func(steps []stepText, below string) {
		for _, s := range steps {
			all = append(all, part{s.item, below})
			for i, a := range s.ways() {
				add(a.steps, fmt.Sprint(s.id, " ", i))
			}
		}
	}
	add(o.steps, "")
	add(o.onError, "on error")
	return all
}

// edits gives the settings that differ, as changes of one key each.
func edits(was, is map[string]*yaml.Node) []Change {
	var all []Change
	for _, k := range slices.Sorted(maps.Keys(union(was, is))) {
		switch a, b := was[k], is[k]; {
		case a == nil:
			all = append(all, Change{ID: k, What: Added, Keys: []Edit{{Key: k, New: brief(named{k, b})}}})
		case b == nil:
			all = append(all, Change{ID: k, What: Removed, Keys: []Edit{{Key: k, Old: brief(named{k, a})}}})
		case canon(a) != canon(b):
			all = append(all, Change{ID: k, What: Changed, Keys: []Edit{{k, brief(named{k, a}), brief(named{k, b})}}})
		}
	}
	return all
}

func union[V any](a, b map[string]V) map[string]V {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]V{}
	}
	maps.Copy(all, b)
	return all
}

// items compares triggers or steps by id: first what is gone, then what there is, in the order of the file.
func items(was, is []part) []Change {
	var all []Change
	old := map[string]int{}
	for i, p := range was {
		old[p.id] = i
		if !slices.ContainsFunc(is, func(q part) bool { return q.id == p.id }) {
			all = append(all, Change{ID: p.id, What: Removed})
		}
	}
	stayed := inOrder(was, is, old)
	for _, p := range is {
		i, there := old[p.id]
		switch {
		case !there:
			all = append(all, Change{ID: p.id, What: Added})
		default:
			keys := p.differs(was[i].item)
			if len(keys) > 0 {
				all = append(all, Change{ID: p.id, What: Changed, Keys: keys})
			} else if was[i].below != p.below || !stayed[p.id] {
				all = append(all, Change{ID: p.id, What: Moved})
			}
		}
	}
	return all
}

// differs gives the keys that are not as they were.
func (it item) differs(was item) (keys []Edit) {
	for _, e := range was.keys {
		if it.get(e.key) == nil {
			keys = append(keys, Edit{Key: e.key, Old: brief(e)})
		}
	}
	for _, e := range it.keys {
		switch old := was.get(e.key); {
		case old == nil:
			keys = append(keys, Edit{Key: e.key, New: brief(e)})
		case (named{e.key, old}).canon() != e.canon():
			keys = append(keys, Edit{e.key, brief(named{e.key, old}), brief(e)})
		}
	}
	return keys
}

// maxBrief is how much of a value is shown, in runes.
const maxBrief = 200

// brief shows a key's value on one line; of a branch the conditions, of tests nothing.
func brief(e named) string {
	switch e.key {
	case "tests":
		return ""
	case "branch":
	default:
		if r := []rune(words(e.val)); len(r) > maxBrief {
			return string(r[:maxBrief]) + "…"
		}
		return words(e.val)
	}
	text := ""
	for i, n := range e.val.Content {
		if i > 0 {
			text += "; "
		}
		if a := readArm(n); a.cond != "" {
			text += "if " + a.cond
		} else {
			text += "else"
		}
	}
	return text
}

// inOrder finds as many ids as possible that follow each other as they did before (the longest ascending
// row), so that moving one step is one move and not one of all that it passed.
func inOrder(was, is []part, old map[string]int) map[string]bool {
	var tails, ids []int // tails: by length, the index in ids of the lowest last element
	prev := map[int]int{}
	for _, p := range is {
		i, there := old[p.id]
		if !there {
			continue
		}
		ids = append(ids, i)
		at := len(ids) - 1
		n := sort.Search(len(tails), func(n int) bool { return ids[tails[n]] >= i })
		if n > 0 {
			prev[at] = tails[n-1]
		} else {
			prev[at] = -1
		}
		if n == len(tails) {
			tails = append(tails, at)
		} else {
			tails[n] = at
		}
	}
	stayed := map[string]bool{}
	if len(tails) > 0 {
		for at := tails[len(tails)-1]; at >= 0; at = prev[at] {
			stayed[was[ids[at]].id] = true
		}
	}
	return stayed
}
