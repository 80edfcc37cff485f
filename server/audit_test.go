package server

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store"
)

// memoryAudit is AuditFiles without files.
type memoryAudit struct {
	mu     sync.Mutex
	signer *store.Signer
	heads  []store.Head
}

func (m *memoryAudit) Signer() (*store.Signer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var err error
	if m.signer == nil {
		m.signer, err = store.NewSigner(rand.Reader, 1)
	}
	return m.signer, err
}

func (m *memoryAudit) Rotate(at crm.Nanos) (s *store.Signer, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.signer, err = m.signer.Rotate(rand.Reader, at)
	return m.signer, err
}

func (m *memoryAudit) Heads() ([]store.Head, error) { return m.heads, nil }

func (m *memoryAudit) Append(h store.Head) error {
	m.heads = append(m.heads, h)
	return nil
}

// auditRig is a store with a little of everything in its log.
func auditRig(t *testing.T) (r *rig, ada, bob crm.ContactID) {
	r = newRig(t)
	r.account()
	ada = r.contact("ada@example.com").ID
	ask[ContactView](r, "contact.tag", ContactTag{ID: ada.String(), Add: []string{"Canary"}})
	bob = r.contact("bob@example.com").ID
	r.clock.Advance(3600e9)
	r.delete(bob, "asked for it")
	ask[ContactView](r, "contact.hold", ContactHold{ID: ada.String(), Reason: "Canary v. Canary"})
	return r, ada, bob
}

func (r *rig) audit(role crm.Role, q AuditList) (page AuditPage) {
	r.t.Helper()
	r.must(r.try(role, "audit.list", q, &page, nil))
	return page
}

func TestAuditList(t *testing.T) {
	t.Parallel()
	r, ada, bob := auditRig(t)
	all := r.audit(crm.Admin, AuditList{})
	for i, e := range all.Entries {
		if i > 0 && e.Entry != all.Entries[i-1].Entry-1 || e.Entry == 0 {
			t.Errorf("entry %d stands behind entry %d", e.Entry, all.Entries[max(i-1, 0)].Entry)
		}
	}
	hour := crm.At(r.clock.Now())
	for name, q := range map[string]struct {
		q    AuditList
		want func(AuditEntry) bool
	}{
		"contact":        {AuditList{Contact: ada.String()}, func(e AuditEntry) bool { return e.Contact == ada }},
		"by its address": {AuditList{Contact: "ada@example.com"}, func(e AuditEntry) bool { return e.Contact == ada }},
		"actor":          {AuditList{Actor: "user:test"}, func(e AuditEntry) bool { return e.By == "user:test" }},
		"nobody":         {AuditList{Actor: "user:nobody"}, func(AuditEntry) bool { return false }},
		"kind":           {AuditList{Kind: crm.ContactDeleted}, func(e AuditEntry) bool { return e.Event == crm.ContactDeleted && e.Contact == bob }},
		"since":          {AuditList{Since: hour}, func(e AuditEntry) bool { return e.At >= hour }},
		"just after":     {AuditList{Since: hour + 1}, func(e AuditEntry) bool { return e.At > hour }},
		"until":          {AuditList{Until: hour}, func(e AuditEntry) bool { return e.At < hour }},
		"all until":      {AuditList{Until: hour + 1}, func(e AuditEntry) bool { return e.At <= hour }},
		"both":           {AuditList{Since: hour, Until: hour + 1}, func(e AuditEntry) bool { return e.At == hour }},
		"workflow":       {AuditList{Workflow: "w"}, func(e AuditEntry) bool { return e.Workflow == "w" }},
		"operation":      {AuditList{Operation: crm.OperationID{1}}, func(e AuditEntry) bool { return e.Operation == crm.OperationID{1} }},
	} {
		var want []uint64
		for _, e := range all.Entries {
			if q.want(e) {
				want = append(want, e.Entry)
			}
		}
		for _, limit := range []int{1, 2, 100} { // page by page it is the same
			var got []uint64
			query := q.q
			for query.Limit = limit; ; {
				page := r.audit(crm.Admin, query)
				for _, e := range page.Entries {
					got = append(got, e.Entry)
				}
				if query.Before = page.Next; page.Next == 0 {
					break
				}
			}
			if len(got) != len(want) || len(want) > 0 && string(mustJSON(t, got)) != string(mustJSON(t, want)) {
				t.Errorf("%s, %d at a time: %v, want %v", name, limit, got, want)
			}
		}
		if len(want) == 0 != (name == "nobody" || name == "workflow" || name == "operation" || name == "just after") {
			t.Errorf("%s proves nothing", name)
		}
	}
}

func mustJSON(t *testing.T, v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestAuditorSeesNothingPersonal calls every verb that an auditor may call, and looks for what is personal in what
// it answers; an admin sees it, so the test can fail.
func TestAuditorSeesNothingPersonal(t *testing.T) {
	t.Parallel()
	personal := func(raw []byte) bool {
		return bytes.Contains(raw, []byte("Canary")) || bytes.Contains(raw, []byte("example.com")) || bytes.Contains(raw, []byte("asked for it"))
	}
	r, ada, _ := auditRig(t)
	requests := map[string]any{"contact.list": ContactList{Held: true}, "run.get": RunID{crm.RunID{1}}}
	for _, verb := range auditorsVerbs {
		q := requests[verb]
		if q == nil {
			q = None{}
		}
		var raw json.RawMessage
		if err := r.try(crm.Auditor, verb, q, &raw, nil); err != nil && crm.CodeOf(err) != crm.CodeNotFound {
			t.Errorf("%s: %v", verb, err)
		}
		if personal(raw) {
			t.Errorf("%s tells an auditor: %s", verb, raw)
		}
	}
	for verb, q := range map[string]any{"audit.list": AuditList{}, "contact.list": ContactList{Held: true}} {
		if raw := ask[json.RawMessage](r, verb, q); !personal(raw) {
			t.Errorf("%s does not tell an admin: the test proves nothing", verb)
		}
	}
	for name, err := range map[string]error{
		"an address":         r.try(crm.Auditor, "audit.list", AuditList{Contact: "ada@example.com"}, nil, nil),
		"a run's contact":    r.try(crm.Auditor, "run.list", RunList{Contact: "ada@example.com"}, nil, nil),
		"all contacts":       r.try(crm.Auditor, "contact.list", ContactList{}, nil, nil),
		"held ones by a tag": r.try(crm.Auditor, "contact.list", ContactList{Held: true, Tag: "Canary"}, nil, nil),
	} {
		if crm.CodeOf(err) != crm.CodeDenied {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := r.audit(crm.Auditor, AuditList{Contact: ada.String()}); len(got.Entries) < 3 || got.Values {
		t.Errorf("an auditor sees %d entries of a contact", len(got.Entries))
	}
	ask[PolicySetAnswer](r, "policy.set", PolicySet{Set: map[string]any{"permissions.audit_values": "admin, auditor"}})
	if raw := mustJSON(t, r.audit(crm.Auditor, AuditList{})); !personal(raw) {
		t.Error("the policy lets auditors see values, and they do not")
	}
	ask[AccountView](r, "account.hipaa", AccountHIPAA{Confirm: "HIPAA"})
	for _, role := range []crm.Role{crm.Admin, crm.Auditor} {
		page := r.audit(role, AuditList{})
		if raw := mustJSON(t, page); personal(raw) || page.Values {
			t.Errorf("the audit of a HIPAA account tells an %s: %s", role, raw)
		}
	}
}

// TestAuditExportAndKeys exports through the verbs, in more than one part, verifies, and rotates the key.
func TestAuditExportAndKeys(t *testing.T) {
	t.Parallel()
	r, ada, _ := auditRig(t)
	export := func(role crm.Role) (file []byte) {
		for q := (AuditExport{}); ; {
			var p AuditPart
			r.must(r.try(role, "audit.export", q, &p, nil))
			file = append(file, p.Lines...)
			if q.Last, q.At = p.Last, p.Next; p.Next == 0 {
				return file
			}
		}
	}
	file := export(crm.Auditor)
	old := ask[store.Keys](r, "audit.key", None{})
	v, err := store.VerifyExport(bytes.NewReader(file), &old)
	if err != nil || !v.Trusted || v.Entries != uint64(len(r.audit(crm.Admin, AuditList{}).Entries)) {
		t.Errorf("%+v: %v", v, err)
	}
	if bytes.Contains(file, []byte("Canary")) || bytes.Contains(file, []byte("example.com")) {
		t.Error("an export tells what is sealed")
	}
	r.clock.Advance(1e9)
	now := ask[store.Keys](r, "audit.rotate", None{})
	if got := r.audit(crm.Admin, AuditList{Kind: crm.AuditKeyRotated}); len(got.Entries) != 1 || got.Entries[0].What != now.Key.String() {
		t.Errorf("the rotation is in the log as %+v", got.Entries)
	}
	ask[ContactView](r, "contact.tag", ContactTag{ID: ada.String(), Add: []string{"x"}})
	later := export(crm.Admin)
	if _, err := store.VerifyExport(bytes.NewReader(file), &now); err != nil {
		t.Errorf("an export from before the rotation, with the list of keys: %v", err)
	}
	if _, err := store.VerifyExport(bytes.NewReader(later), &old); err == nil || !strings.Contains(err.Error(), "none of those that are trusted") {
		t.Errorf("an export by the new key, where only the old one is trusted: %v", err)
	}
}

// TestAuditVerifyAsksTheHeads: what was exported has to be in the chain.
func TestAuditVerifyAsksTheHeads(t *testing.T) {
	t.Parallel()
	r, ada, _ := auditRig(t)
	files := r.app.Audit.(*memoryAudit)
	head := func() {
		signer, err := files.Signer()
		r.must(err)
		h, err := r.app.Store.SignHead(t.Context(), signer)
		r.must(err)
		r.must(files.Append(*h))
	}
	head()
	ask[ContactView](r, "contact.tag", ContactTag{ID: ada.String(), Add: []string{"x"}})
	head()
	if v := ask[AuditView](r, "audit.verify", None{}); v.Heads != 2 || v.Newest != files.heads[1].At {
		t.Errorf("%+v", v)
	}
	files.heads[0].Hash[3] ^= 1
	r.refused("audit.verify", None{}, crm.CodeCorrupt)
}
