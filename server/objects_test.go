package server

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
)

// Every kind of object is made, named, renamed and deleted by the same rules.
func TestObjects(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"list", "campaign", "company"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.account()
			a := ask[NamedView](r, kind+".create", ObjectCreate{Name: " Acme "})
			if a.Name != "Acme" {
				t.Errorf("%+v", a)
			}
			r.refused(kind+".create", ObjectCreate{ID: a.ID, Name: "Other"}, crm.CodeConflict)
			for _, name := range []string{"", " ", "a\nb", strings.Repeat("é", maxObjectName+1)} {
				r.refused(kind+".create", ObjectCreate{Name: name}, crm.CodeInvalid)
				r.refused(kind+".rename", ObjectRename{Object: "acme", Name: name}, crm.CodeInvalid)
			}
			b := ask[NamedView](r, kind+".create", ObjectCreate{Name: "Bolt"})
			if kind == "company" { // two firms may be called the same; a list may not
				b = ask[NamedView](r, kind+".rename", ObjectRename{Object: "BOLT", Name: "ACME"})
				if said := r.refused(kind+".rename", ObjectRename{Object: "acme", Name: "x"}, crm.CodeConflict); !strings.Contains(said, a.ID.String()) || !strings.Contains(said, b.ID.String()) {
					t.Errorf("several: %s", said)
				}
				ask[NamedView](r, kind+".rename", ObjectRename{Object: b.ID.String(), Name: "Bolt"})
			} else {
				r.refused(kind+".create", ObjectCreate{Name: "ACME"}, crm.CodeConflict)
				r.refused(kind+".rename", ObjectRename{Object: "Bolt", Name: "acme"}, crm.CodeConflict)
			}
			if v := ask[NamedView](r, kind+".rename", ObjectRename{Object: "bolt", Name: "BOLT"}); v.Name != "BOLT" || v.ID != b.ID {
				t.Errorf("respelt: %+v", v)
			}
			r.refused(kind+".rename", ObjectRename{Object: "nothing", Name: "x"}, crm.CodeNotFound)
			r.refused(kind+".rename", ObjectRename{Object: crm.ItemID{9}.String(), Name: "x"}, crm.CodeNotFound)
			r.refused(kind+".delete", ObjectDelete{Object: "acme"}, crm.CodeConfirm)
			r.refused(kind+".delete", ObjectDelete{Object: "acme", Confirm: "DELETE"}, crm.CodeConfirm)
			if v := ask[NamedView](r, kind+".delete", ObjectDelete{Object: "acme", Confirm: "yes"}); v.DeletedAt == 0 || v.ID != a.ID {
				t.Errorf("deleted: %+v", v)
			}
			r.refused(kind+".delete", ObjectDelete{Object: "acme", Confirm: "yes"}, crm.CodeNotFound)
			if said := r.refused(kind+".delete", ObjectDelete{Object: a.ID.String(), Confirm: "yes"}, crm.CodeNotFound); !strings.Contains(said, "was deleted at") {
				t.Errorf("again: %s", said)
			}
			again := ask[NamedView](r, kind+".create", ObjectCreate{Name: "Acme"}) // another one
			page := ask[CompanyPage](r, kind+".list", ObjectList{})
			if len(page.Items) != 2 || again.ID == a.ID || page.Items[0].ID == a.ID || page.Items[1].ID == a.ID {
				t.Errorf("%+v", page)
			}
		})
	}
}

func TestObjectsArePaged(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	for i := range 7 {
		ask[NamedView](r, "company.create", ObjectCreate{Name: fmt.Sprint("Firm ", i)})
	}
	ask[NamedView](r, "company.delete", ObjectDelete{Object: "firm 3", Confirm: "yes"})
	var seen []string
	for q := (ObjectList{Limit: 3}); ; {
		page := ask[CompanyPage](r, "company.list", q)
		for _, v := range page.Items {
			seen = append(seen, v.Name)
		}
		if q.After = page.Next; q.After.IsZero() {
			break
		}
	}
	slices.Sort(seen)
	if got := strings.Join(seen, ","); got != "Firm 0,Firm 1,Firm 2,Firm 4,Firm 5,Firm 6" {
		t.Error(got)
	}
	for _, verb := range []string{"list.list", "campaign.list", "company.list", "opportunity.list"} {
		r.refused(verb, ObjectList{Limit: MaxPage + 1}, crm.CodeInvalid)
		r.refused(verb, ObjectList{Contact: "nobody"}, crm.CodeNotFound)
	}
}

func TestListMembers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	ada := r.contact("ada@example.com").ID.String()
	news := ask[NamedView](r, "list.create", ObjectCreate{Name: "News"})
	members := func() int64 { return ask[ObjectPage](r, "list.list", None{}).Items[0].Members }
	if v := ask[Placement](r, "list.add", ListAdd{List: "news", Contact: ada}); v.Status != crm.Subscribed || v.ID != news.ID || members() != 1 {
		t.Errorf("%+v", v)
	}
	for _, s := range []crm.Status{crm.Unsubscribed, crm.Unconfirmed, crm.Bounced, crm.Subscribed} {
		if v := ask[Placement](r, "list.add", ListAdd{List: news.ID.String(), Contact: ada, Status: s}); v.Status != s || members() != 1 {
			t.Errorf("%s: %+v", s, v)
		}
	}
	r.refused("list.add", ListAdd{List: "news", Contact: ada, Status: "active"}, crm.CodeInvalid)
	r.refused("list.add", ListAdd{List: "other", Contact: ada}, crm.CodeNotFound)
	r.refused("list.add", ListAdd{List: "news", Contact: "nobody"}, crm.CodeNotFound)
	if page := ask[ObjectPage](r, "list.list", ObjectList{Contact: ada}); len(page.Items) != 1 {
		t.Errorf("%+v", page)
	}
	if v := ask[Placement](r, "list.remove", Membership{Object: "news", Contact: ada}); v.Status != "" || members() != 0 {
		t.Errorf("%+v", v)
	}
	r.refused("list.remove", Membership{Object: "news", Contact: ada}, crm.CodeNotFound)
	if page := ask[ObjectPage](r, "list.list", ObjectList{Contact: ada}); len(page.Items) != 0 {
		t.Errorf("%+v", page)
	}

	// a list that is gone: nobody is on it, and no restore brings it back
	ask[Placement](r, "list.add", ListAdd{List: "news", Contact: ada})
	ask[NamedView](r, "list.delete", ObjectDelete{Object: "news", Confirm: "yes"})
	r.refused("list.add", ListAdd{List: news.ID.String(), Contact: ada}, crm.CodeNotFound)
	r.refused("contact.list", ContactList{List: "news"}, crm.CodeNotFound)
	if v := ask[ContactView](r, "contact.get", ContactID{ID: ada}); len(v.Lists) > 0 {
		t.Errorf("still on it: %+v", v.Lists)
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	var ids []crm.ContactID
	for i := range 3 {
		ids = append(ids, r.contact(fmt.Sprintf("c%d@example.com", i)).ID)
		ask[ContactView](r, "contact.tag", ContactTag{ID: ids[i].String(), Add: []string{[]string{"VIP", "vip", "Vip"}[i], fmt.Sprint("only ", i)}})
	}
	r.delete(ids[2], "")
	page := ask[TagPage](r, "tag.list", None{})
	if len(page.Items) != 3 || page.Items[2].Name != "VIP" || page.Items[2].Contacts != 2 || page.Items[0].Name != "only 0" || page.Items[0].Contacts != 1 {
		t.Errorf("%+v", page)
	}
	r.refused("tag.list", TagList{After: "not base64!"}, crm.CodeInvalid)
	r.refused("tag.delete", TagDelete{Name: "vip"}, crm.CodeConfirm)
	r.refused("tag.delete", TagDelete{Name: "\n", Confirm: "yes"}, crm.CodeInvalid)
	r.refused("tag.delete", TagDelete{Name: "nobody's", Confirm: "yes"}, crm.CodeNotFound)

	// left to the engine
	if v := ask[TagDeleted](r, "tag.delete", TagDelete{Name: "vip", Confirm: "yes"}); v.Live != 2 || v.Deleted != 1 || v.Done {
		t.Errorf("%+v", v)
	}
	if page := ask[TagPage](r, "tag.list", None{}); !page.Items[2].Deleting {
		t.Errorf("%+v", page)
	}
	r.refused("tag.delete", TagDelete{Name: "VIP", Confirm: "yes"}, crm.CodeRunning)
	r.refused("contact.tag", ContactTag{ID: r.contact("new@example.com").ID.String(), Add: []string{"Vip"}}, crm.CodeRunning)
	r.must(r.app.Engine.Settle(t.Context()))
	if page := ask[TagPage](r, "tag.list", None{}); len(page.Items) != 2 {
		t.Errorf("%+v", page)
	}
	receipt := ask[ReceiptView](r, "contact.restore", ContactRestore{ID: ids[2].String(), Confirm: "yes"})
	if !slices.ContainsFunc(receipt.Items, func(it crm.ReceiptItem) bool { return it.Kind == crm.TagItem && it.Reason == crm.SkipTagGone }) {
		t.Errorf("%+v", receipt.Items)
	}
	if v := ask[ContactView](r, "contact.get", ContactID{ID: ids[2].String()}); len(v.Tags) != 1 {
		t.Errorf("%+v", v.Tags)
	}

	// done at once
	ask[ContactView](r, "contact.tag", ContactTag{ID: ids[0].String(), Add: []string{"VIP"}})
	if v := ask[TagDeleted](r, "tag.delete", TagDelete{Name: "vip", Confirm: "yes", Wait: true}); v.Live != 1 || !v.Done {
		t.Errorf("%+v", v)
	}
	if v := ask[ContactView](r, "contact.get", ContactID{ID: ids[0].String()}); len(v.Tags) != 1 {
		t.Errorf("%+v", v.Tags)
	}
}

// The pages of tags add up to all of them, however many pages the engine makes.
func TestTagsAddUp(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	var csv strings.Builder
	csv.WriteString("Email,Tags\n")
	const n = 300
	for i := range n {
		fmt.Fprintf(&csv, "c%d@example.com,all\n", i)
	}
	r.must(r.try(crm.Admin, "contact.import", ImportOptions{}, nil, strings.NewReader(csv.String())))
	sum, calls := int64(0), 0
	for q := (TagList{}); ; calls++ {
		page := ask[TagPage](r, "tag.list", q)
		for _, v := range page.Items {
			sum += v.Contacts
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	if sum != n || calls == 0 {
		t.Errorf("%d of %d in %d calls", sum, n, calls+1)
	}
}
