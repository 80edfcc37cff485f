package server

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// exported is the document of one live contact: the same bytes as long as nothing of it changes.
type exported struct {
	Contact ContactView   `json:"contact"`
	Records []RecordItem  `json:"records"`
	Links   []exportedTie `json:"links"`
	Runs    []RunView     `json:"runs"`
}

type exportedTie struct {
	Kind  crm.ItemKind `json:"kind"`
	ID    crm.ItemID   `json:"id"`
	Name  string       `json:"name,omitempty"`
	Since crm.Nanos    `json:"since"`
}

// exportOf gives a live contact's document and its sha256 in hex.
func exportOf(tx *store.Tx, k crm.Key) (json.RawMessage, string, error) {
	v, err := show(tx, k, crm.OnlyLive)
	if err != nil {
		return nil, "", err
	}
	doc := exported{Contact: v, Records: []RecordItem{}, Links: []exportedTie{}, Runs: []RunView{}}
	records, err := recordsOf(tx, k)
	if err != nil {
		return nil, "", err
	}
	for i := range records {
		doc.Records = append(doc.Records, recordItem(&records[i]))
	}
	links, err := tx.Links(k)
	if err != nil {
		return nil, "", err
	}
	for _, l := range links {
		if l.Kind != crm.Opportunity && l.Kind != crm.Company && l.Kind != crm.Campaign {
			continue
		}
		o, err := tx.Object(crm.ObjectKey{Account: k.Account, Kind: l.Kind, ID: l.ID})
		if err != nil {
			return nil, "", err
		}
		tie := exportedTie{Kind: l.Kind, ID: l.ID, Since: l.Since}
		if o != nil {
			tie.Name = o.Name
		}
		doc.Links = append(doc.Links, tie)
	}
	runs, err := tx.RunsOf(k)
	if err != nil {
		return nil, "", err
	}
	for i := range runs {
		r, err := runView(tx, &runs[i])
		if err != nil {
			return nil, "", err
		}
		doc.Runs = append(doc.Runs, r)
	}
	raw, err := json.Marshal(doc)
	sum := sha256.Sum256(raw)
	return raw, hex.EncodeToString(sum[:]), err
}
