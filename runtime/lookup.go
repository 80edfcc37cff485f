package runtime

import (
	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// lookup answers what effects ask of the store, within one transaction.
type lookup struct {
	*store.Tx
	objects map[owned][]crm.Object
}

type owned struct {
	account crm.AccountID
	kind    crm.ItemKind
}

func lookupIn(tx *store.Tx) *lookup { return &lookup{tx, map[owned][]crm.Object{}} }

// Object implements plugins.Lookup: the account's lists are read once in a transaction.
func (l *lookup) Object(acc crm.AccountID, kind crm.ItemKind, called string) (*crm.Object, error) {
	k := owned{acc, kind}
	all := l.objects[k]
	o, err := l.ObjectCalled(acc, kind, called, &all)
	l.objects[k] = all
	return o, err
}
