package server

import (
	"fmt"
	"testing"
	"time"

	"github.com/reprieve-run/reprieve/crm"
)

func TestCampaigns(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	ask[NamedView](r, "campaign.create", ObjectCreate{Name: "Spring"})
	var ids []crm.ContactID
	for i := range 5 {
		ids = append(ids, r.contact(fmt.Sprintf("c%d@example.com", i)).ID)
		ask[Placement](r, "campaign.add", CampaignAdd{Campaign: "spring", Contact: ids[i].String(), Due: "2026-03-02T10:00:00Z"})
	}
	due := func() (n int) {
		for q := (CampaignDue{Campaign: "Spring", Limit: 2}); ; {
			page := ask[DuePage](r, "campaign.due", q)
			n += len(page.Items)
			if q.After = page.Next; q.After == "" {
				return n
			}
		}
	}
	now := func() CampaignView { return ask[CampaignPage](r, "campaign.list", None{}).Items[0] }
	c0 := CampaignSent{Campaign: "spring", Contact: ids[0].String(), Next: "2026-03-03T10:00:00Z"}
	if n := due(); n != 0 {
		t.Errorf("%d are due too early", n)
	}
	r.refused("campaign.sent", c0, crm.CodeStale)
	r.clock.Advance(time.Hour)
	if n := due(); n != 5 {
		t.Errorf("%d are due at the instant itself", n)
	}
	if v := ask[Placement](r, "campaign.sent", c0); v.Sent != 1 || v.Due.String() != c0.Next {
		t.Errorf("%+v", v)
	}
	r.refused("campaign.sent", c0, crm.CodeStale) // not twice
	ask[ContactView](r, "contact.archive", ContactID{ID: ids[1].String()})
	r.delete(ids[2], "")
	r.delete(ids[3], "")
	ask[ReceiptView](r, "contact.restore", ContactRestore{ID: ids[3].String(), Confirm: "yes"})
	if n := due(); n != 1 { // sent; archived; deleted; restored, so suspended; and one
		t.Errorf("%d are due", n)
	}
	r.refused("campaign.sent", CampaignSent{Campaign: "spring", Contact: ids[3].String()}, crm.CodeStale)
	r.refused("campaign.sent", CampaignSent{Campaign: "spring", Contact: ids[1].String()}, crm.CodeStale)
	r.refused("campaign.sent", CampaignSent{Campaign: "spring", Contact: ids[2].String()}, crm.CodeDeleted)
	ask[Placement](r, "campaign.opened", CampaignSeen{Campaign: "spring", Contact: ids[3].String()}) // late, and no sending
	ask[Placement](r, "campaign.clicked", CampaignSeen{Campaign: "spring", Contact: ids[0].String()})
	if v := now(); v.Members != 2 || v.Sent != 1 || v.Opened != 1 || v.Clicked != 1 {
		t.Errorf("%+v", v)
	}
}

func TestCampaignMembers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	spring := ask[NamedView](r, "campaign.create", ObjectCreate{Name: "Spring"})
	ada := r.contact("ada@example.com").ID.String()
	const due = "2026-03-03T10:00:00Z"
	if v := ask[Placement](r, "campaign.add", CampaignAdd{Campaign: "spring", Contact: ada, Due: due}); v.Due.String() != due || v.Sent != 0 {
		t.Errorf("%+v", v)
	}
	r.refused("campaign.add", CampaignAdd{Campaign: "spring", Contact: ada, Due: "2026-05-01"}, crm.CodeConflict)
	ask[Placement](r, "campaign.add", CampaignAdd{Campaign: "spring", Contact: ada, Due: due}) // is so already
	r.refused("campaign.add", CampaignAdd{Campaign: "spring", Contact: ada, Due: "soon"}, crm.CodeInvalid)
	r.refused("campaign.sent", CampaignSent{Campaign: "spring", Contact: ada, Next: "soon"}, crm.CodeInvalid)
	if v := ask[Placement](r, "campaign.remove", Membership{Object: spring.ID.String(), Contact: ada}); v.Due != 0 || ask[CampaignPage](r, "campaign.list", None{}).Items[0].Members != 0 {
		t.Errorf("%+v", v)
	}
	r.refused("campaign.remove", Membership{Object: "spring", Contact: ada}, crm.CodeNotFound)
	r.refused("campaign.opened", CampaignSeen{Campaign: "spring", Contact: ada}, crm.CodeNotFound)
	ask[NamedView](r, "campaign.delete", ObjectDelete{Object: "spring", Confirm: "yes"})
	r.refused("campaign.due", CampaignDue{Campaign: "spring"}, crm.CodeNotFound)
	r.refused("campaign.add", CampaignAdd{Campaign: spring.ID.String(), Contact: ada}, crm.CodeNotFound)
}

func TestCompanies(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	ada := r.contact("ada@example.com").ID
	acme := ask[NamedView](r, "company.create", ObjectCreate{Name: "Acme"})
	in := func() int { return len(ask[CompanyPage](r, "company.list", ObjectList{Contact: ada.String()}).Items) }
	ask[Placement](r, "company.add", CompanyAdd{Company: "acme", Contact: ada.String()})
	ask[Placement](r, "company.add", CompanyAdd{Company: acme.ID.String(), Contact: ada.String()})
	if in() != 1 {
		t.Error("not in it")
	}
	r.refused("company.add", CompanyAdd{Company: "bolt", Contact: ada.String()}, crm.CodeNotFound)
	ask[Placement](r, "company.remove", Membership{Object: "acme", Contact: ada.String()})
	r.refused("company.remove", Membership{Object: "acme", Contact: ada.String()}, crm.CodeNotFound)
	if in() != 0 {
		t.Error("still in it")
	}
	ask[Placement](r, "company.add", CompanyAdd{Company: "acme", Contact: ada.String()})
	r.delete(ada, "")
	r.refused("company.list", ObjectList{Contact: ada.String()}, crm.CodeDeleted)
	ask[NamedView](r, "company.delete", ObjectDelete{Object: "acme", Confirm: "yes"})
	receipt := ask[ReceiptView](r, "contact.restore", ContactRestore{ID: ada.String(), Confirm: "yes"})
	if len(receipt.Items) != 1 || receipt.Items[0].Reason != crm.SkipCompanyGone || in() != 0 {
		t.Errorf("%+v", receipt.Items)
	}
}

func TestOpportunities(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	ada, bob := r.contact("ada@example.com").ID, r.contact("bob@example.com").ID
	roof := ask[OpportunityView](r, "opportunity.create", OpportunityCreate{Name: " Roof ", Stage: "offer", Status: "open", Cents: 125000, Contacts: []string{"ada@example.com", "bob@example.com"}})
	if roof.Name != "Roof" || roof.Stage != "offer" || roof.Status != "open" || roof.Cents != 125000 || len(roof.Contacts) != 2 || roof.Primary != ada || roof.State != "live" {
		t.Errorf("%+v", roof)
	}
	live := func(deleted bool) []OpportunityView {
		return ask[OpportunityPage](r, "opportunity.list", OpportunityList{Deleted: deleted}).Items
	}
	r.refused("opportunity.create", OpportunityCreate{ID: roof.ID, Name: "x", Contacts: []string{ada.String()}}, crm.CodeConflict)
	r.refused("opportunity.create", OpportunityCreate{Name: "x"}, crm.CodeInvalid)
	r.refused("opportunity.create", OpportunityCreate{Name: "", Contacts: []string{ada.String()}}, crm.CodeInvalid)
	r.refused("opportunity.create", OpportunityCreate{Name: "x", Stage: "\n", Contacts: []string{ada.String()}}, crm.CodeInvalid)
	r.refused("opportunity.create", OpportunityCreate{Name: "half made", Contacts: []string{ada.String(), "nobody"}}, crm.CodeNotFound)
	if got := live(false); len(got) != 1 {
		t.Errorf("all or nothing: %+v", got)
	}

	// an update changes what it names, and leaves the contacts
	got := ask[OpportunityView](r, "opportunity.update", OpportunityUpdate{Opportunity: "roof", Stage: ptr("won"), Cents: ptr(int64(0))})
	if got.Stage != "won" || got.Cents != 0 || got.Status != "open" || got.Name != "Roof" || len(got.Contacts) != 2 || got.Primary != ada {
		t.Errorf("%+v", got)
	}
	r.refused("opportunity.update", OpportunityUpdate{Opportunity: "roof"}, crm.CodeInvalid)
	r.refused("opportunity.update", OpportunityUpdate{Opportunity: "roof", Name: ptr(" ")}, crm.CodeInvalid)
	r.refused("opportunity.update", OpportunityUpdate{Opportunity: "roof", Status: ptr("\x00")}, crm.CodeInvalid)
	r.refused("opportunity.update", OpportunityUpdate{Opportunity: "cellar", Status: ptr("open")}, crm.CodeNotFound)

	if v := ask[Placement](r, "opportunity.add", OpportunityAdd{Opportunity: "roof", Contact: bob.String(), Primary: true}); !v.Primary {
		t.Errorf("%+v", v)
	}
	ask[Placement](r, "opportunity.remove", Membership{Object: "roof", Contact: ada.String()})
	r.refused("opportunity.remove", Membership{Object: "roof", Contact: ada.String()}, crm.CodeNotFound)
	ask[Placement](r, "opportunity.add", OpportunityAdd{Opportunity: "roof", Contact: ada.String()})
}

func TestOpportunitiesGoWithTheirContacts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	ada, bob := r.contact("ada@example.com").ID, r.contact("bob@example.com").ID
	roof := ask[OpportunityView](r, "opportunity.create", OpportunityCreate{Name: "Roof", Contacts: []string{bob.String(), ada.String()}})
	live := func(deleted bool) []OpportunityView {
		return ask[OpportunityPage](r, "opportunity.list", OpportunityList{Deleted: deleted}).Items
	}

	// what goes with its contacts is not live, takes no change, and is back with one of them
	r.delete(bob, "")
	if got := live(false); len(got) != 1 || len(got[0].Contacts) != 1 || !got[0].Primary.IsZero() {
		t.Errorf("its primary is deleted: %+v", got)
	}
	r.delete(ada, "")
	if got := live(true); len(live(false)) != 0 || len(got) != 1 || got[0].State != "with_contacts" || len(got[0].Contacts) != 0 {
		t.Errorf("%+v", got)
	}
	r.refused("opportunity.update", OpportunityUpdate{Opportunity: roof.ID.String(), Status: ptr("lost")}, crm.CodeDeleted)
	r.refused("opportunity.delete", ObjectDelete{Object: roof.ID.String(), Confirm: "yes"}, crm.CodeDeleted)
	r.refused("opportunity.add", OpportunityAdd{Opportunity: "roof", Contact: r.contact("cy@example.com").ID.String()}, crm.CodeNotFound)
	ask[ReceiptView](r, "contact.restore", ContactRestore{ID: bob.String(), Confirm: "yes"})
	if got := live(false); len(got) != 1 || got[0].Primary != bob {
		t.Errorf("%+v", got)
	}

	// deleted on its own, no restore brings it back
	r.refused("opportunity.delete", ObjectDelete{Object: "roof"}, crm.CodeConfirm)
	ask[NamedView](r, "opportunity.delete", ObjectDelete{Object: "roof", Confirm: "yes"})
	receipt := ask[ReceiptView](r, "contact.restore", ContactRestore{ID: ada.String(), Confirm: "yes"})
	if len(receipt.Items) != 1 || receipt.Items[0].Reason != crm.SkipDeletedSeparately || len(live(false)) != 0 || live(true)[0].State != "deleted" {
		t.Errorf("%+v", receipt.Items)
	}
}
