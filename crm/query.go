package crm

import "slices"

// StateSet is the set of states that a query wants. Every read path names one; there is no default.
type StateSet uint8

// The sets.
const (
	OnlyLive    StateSet = 1 << Live
	OnlyDeleted StateSet = 1 << Deleted
	LiveOrDead  StateSet = OnlyLive | OnlyDeleted
)

// Has says whether the state is in the set.
func (s StateSet) Has(st State) bool { return s&(1<<st) != 0 }

// Query asks for contacts of one account in id order.
type Query struct {
	Account AccountID
	State   StateSet
	Where   Filter // a superset is enough; the zero Filter passes everything
	List    ItemID // only members of this list, if set
	After   []byte // a cursor from an earlier page
	Budget  Nanos  // how long a page may take before it returns a cursor; 0 is 20 ms
}

// FilterOp is how a Filter decides.
type FilterOp uint8

// The operators. The zero Filter is FilterAll.
const (
	FilterAll      FilterOp = iota // passes everything
	FilterNone                     // passes nothing
	FilterAnd                      // every one of Of
	FilterOr                       // at least one of Of
	FilterNot                      // not Of[0]
	FilterTag                      // carries the tag Name, folded
	FilterField                    // the field Name equals Value
	FilterArchived                 // is archived
)

// Filter is what an engine can decide by itself: the lowered, possibly wider form of a selection's
// expression. What passes it is still decided precisely by the selection's Keep.
type Filter struct {
	Op    FilterOp
	Of    []Filter
	Name  string
	Value Value
}

// Match says whether the contact passes.
func (f Filter) Match(c *Contact) bool {
	switch f.Op {
	case FilterAll:
		return true
	case FilterAnd:
		return !slices.ContainsFunc(f.Of, func(g Filter) bool { return !g.Match(c) })
	case FilterOr:
		return slices.ContainsFunc(f.Of, func(g Filter) bool { return g.Match(c) })
	case FilterNot:
		return !f.Of[0].Match(c)
	case FilterTag:
		return c.HasTag(f.Name)
	case FilterArchived:
		return c.Archived.On
	case FilterField:
		return c.Field(f.Name).Equal(f.Value)
	}
	return false
}
