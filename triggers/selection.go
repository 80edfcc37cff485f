package triggers

import (
	"strings"

	"github.com/reprieve-run/reprieve/crm"
)

// Selection is a condition on contacts in the form in which a scan can use it.
type Selection struct {
	// Where is what an engine decides by itself. It passes every contact that Keep does, and may pass
	// more.
	Where crm.Filter
	// Keep decides precisely. The life is the contact's, the tombstone nil for a live one. What cannot
	// be evaluated is not kept; Check says why.
	Keep           func(c *crm.Contact, l *crm.Life, tomb *crm.Manifest, now crm.Nanos) bool
	Reads          []crm.Fact // for Contact.Selectable
	NeedsTombstone bool
	expr           *Expr
	listName       func(crm.ItemID) string
}

// Select compiles the condition of a selection. An empty text selects everybody. src.Scope says
// whether tombstone.* is there; contact.* always is.
func Select(src Source) (Selection, error) {
	var s Selection
	src.Scope |= ScopeContact
	if strings.TrimSpace(src.Text) != "" {
		e, err := CompileExpr(src, Bool)
		if err != nil {
			return Selection{}, err
		}
		s = Selection{Where: e.where, Reads: e.Reads(), NeedsTombstone: e.Uses("tombstone"), expr: e}
	}
	return s.WithLists(nil), nil
}

// WithLists gives the selection with names for the lists in contact.lists; without it a list is named
// by its id's text.
func (s Selection) WithLists(listName func(crm.ItemID) string) Selection {
	s.listName = listName
	s.Keep = func(c *crm.Contact, l *crm.Life, tomb *crm.Manifest, now crm.Nanos) bool {
		ok, _ := s.Check(c, l, tomb, now)
		return ok
	}
	return s
}

// Check is Keep with the reason for which a condition could not be evaluated. A nil life is a live
// contact's.
func (s Selection) Check(c *crm.Contact, l *crm.Life, tomb *crm.Manifest, now crm.Nanos) (bool, error) {
	if s.expr == nil {
		return true, nil
	}
	env := Env{Contact: c, Tombstone: tomb, Now: now, ListName: s.listName}
	if l != nil {
		env.Life = *l
	}
	return s.expr.Bool(env)
}
