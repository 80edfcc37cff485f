package crm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// RestoreEnabled says whether the account restores anything: its policy says so and it is no HIPAA
// account (S1.8).
func (a *Account) RestoreEnabled() bool { return a.Policy.Restore.Enabled && !a.HIPAA }

// AskDelete gives what a person is told before a delete of so many contacts, in lines made from the
// policy in force and from nothing else, and the word that confirms it; "" if none is asked for.
func (a *Account) AskDelete(contacts int) (text, word string) {
	rules, say := a.Policy.Delete, wording(contacts)
	lines := []string{say.deletes + " " + a.leaves(say), a.goesAlong(say), a.undone(say)}
	if a.RestoreEnabled() {
		lines = append(lines, a.staysAway(say))
	}
	var first []string
	switch rules.ExportBefore {
	case Warn:
		first = append(first, "Export "+say.them+" first if you may need the data.")
	case Required:
		first = append(first, say.They+" must be exported first.")
	}
	if n := rules.ApprovalAbove; n > 0 && contacts > n {
		first = append(first, "A second admin has to approve it.")
	}
	switch rules.Confirm {
	case ConfirmDelete:
		word = "DELETE"
	case ConfirmCount:
		word = strconv.Itoa(contacts)
	}
	return joinLines(append(lines, strings.Join(first, " "))), word
}

// AskRestore is AskDelete for a restore. What an account does not restore needs no word: the text says
// so, and the restore is refused.
func (a *Account) AskRestore(contacts int) (text, word string) {
	rules, say := a.Policy.Restore, wording(contacts)
	switch {
	case a.HIPAA:
		return "Nothing can be restored: this is a HIPAA account.", ""
	case !rules.Enabled:
		return "Nothing can be restored: the account's policy has restores switched off.", ""
	}
	line := say.restores
	if back := a.back(); len(back) > 0 {
		line += " with " + say.their + " " + sentence(back)
	}
	separately := "What was deleted separately stays deleted."
	if rules.Associated[Opportunity] { // by the policy of that time
		separately = "What was deleted separately stays deleted, and what becomes of opportunities was decided at the delete."
	}
	away := a.away()
	if rules.Enrollments == None {
		away = append(away, "places in workflows and campaigns")
	}
	if len(away) > 0 {
		separately = upperFirst(sentence(away)) + " do not come back. " + separately
	}
	lines := []string{line + ".", separately, map[Rule]string{
		SuspendThem: "No automation starts and nothing is sent; workflows and campaigns stay suspended until somebody resumes them.",
		HistoryOnly: "No automation starts and nothing is sent; workflows and campaigns come back as history only.",
		None:        "No automation starts and nothing is sent.",
	}[rules.Enrollments], say.conflicts[rules.Conflict]}
	if rules.Confirm == ConfirmYesNo {
		word = "yes"
	}
	return joinLines(lines), word
}

// leaves says what a delete takes the contacts out of.
func (a *Account) leaves(say words) string {
	if a.Policy.Delete.WhenEnrolled == Block {
		return say.They + " " + say.leave + " every list at once; a contact in a workflow or campaign is not deleted."
	}
	return say.They + " " + say.leave + " every workflow, campaign and list at once."
}

// goesAlong says what goes with the contacts, and what keeps a contact from being deleted.
func (a *Account) goesAlong(say words) string {
	var along, block []string
	for _, k := range associatedKinds {
		switch a.Policy.Delete.Associated[k.kind] {
		case Cascade:
			along = append(along, k.words)
		case CascadeIfSole:
			along = append(along, soleOpportunities)
		case Block:
			block = append(block, k.words)
		}
	}
	var parts []string
	if len(along) > 0 {
		parts = append(parts, upperFirst(sentence(along))+" go with "+say.them+".")
	}
	if len(block) > 0 {
		parts = append(parts, "A contact with "+alternatives(block)+" is not deleted.")
	}
	return strings.Join(parts, " ")
}

// undone says for how long a delete can be undone, and when the contacts are gone for good.
func (a *Account) undone(say words) string {
	rules, days := a.Policy.Retention, inDays(a.Policy.Retention.Window)
	switch {
	case a.HIPAA:
		return fmt.Sprintf("This cannot be undone: this is a HIPAA account. %s gone for good after %s.", say.TheyAre, days)
	case !a.Policy.Restore.Enabled:
		return fmt.Sprintf("This cannot be undone while the policy has restores switched off. %s gone for good after %s.", say.TheyAre, days)
	}
	var who []string
	for _, r := range []Role{Admin, Operator, Agent, Viewer} {
		if a.Policy.Allows(r, VerbRestore) {
			who = append(who, "an "+string(r))
		}
	}
	by := alternatives(who)
	if rules.AfterWindow == AllowUntilPurged {
		return fmt.Sprintf("%s can restore %s for %s, and from then on until a sweep has purged %s; then %s gone for good.",
			upperFirst(by), say.them, days, say.them, say.theyAre)
	}
	return fmt.Sprintf("%s can restore %s for %s; after that %s gone for good.", upperFirst(by), say.them, days, say.theyAre)
}

// back gives the kinds that a restore brings back, and away those that it does not and that are there
// to be missed.
func (a *Account) back() (kinds []string) {
	for _, k := range associatedKinds {
		if a.Policy.Restore.Associated[k.kind] || a.Policy.Delete.Associated[k.kind] == Keep {
			kinds = append(kinds, k.words)
		}
	}
	return kinds
}

func (a *Account) away() (kinds []string) {
	for _, k := range associatedKinds {
		cut := a.Policy.Delete.Associated[k.kind]
		if !a.Policy.Restore.Associated[k.kind] && cut != Keep && cut != Block {
			kinds = append(kinds, k.words)
		}
	}
	return kinds
}

// staysAway says what a restore would not bring back, or not as it was.
func (a *Account) staysAway(say words) string {
	rules := a.Policy.Restore
	opportunities := rules.Associated[Opportunity] && a.Policy.Delete.Associated[Opportunity] != Block
	away := a.away()
	if opportunities && rules.SoleContactOpportunities == LoseThem {
		away = append(away, soleOpportunities)
	}
	if rules.Enrollments == None {
		away = append(away, "places in workflows and campaigns")
	}
	text := "A restore brings everything back that was not deleted separately."
	if len(away) > 0 {
		text = "A restore does not bring back " + alternatives(away) + "."
	}
	if opportunities && rules.OpportunityPrimary == Secondary {
		text += " Shared opportunities come back without " + say.them + " as primary contact."
	}
	switch rules.Enrollments {
	case SuspendThem:
		text += " Workflows and campaigns come back suspended."
	case HistoryOnly:
		text += " Workflows and campaigns come back as history only."
	}
	return text
}

const soleOpportunities = "opportunities without another live contact"

// words are what depends on whether there is one contact or more.
type words struct {
	deletes, restores, They, TheyAre, theyAre, their, them, leave string
	conflicts                                                     map[Rule]string
}

func wording(contacts int) words {
	if contacts == 1 {
		return words{"This deletes 1 contact.", "This restores 1 contact", "It", "It is", "it is", "its", "it", "leaves", map[Rule]string{
			Block:          "If a live contact has its address by now, it is not restored.",
			Skip:           "If a live contact has its address by now, it is left deleted.",
			DropIdentifier: "If a live contact has its address by now, it comes back without that.",
		}}
	}
	return words{fmt.Sprintf("This deletes %d contacts.", contacts), fmt.Sprintf("This restores %d contacts", contacts),
		"They", "They are", "they are", "their", "them", "leave", map[Rule]string{
			Block:          "One whose address a live contact has by now is not restored.",
			Skip:           "One whose address a live contact has by now is left deleted; the others come back.",
			DropIdentifier: "One whose address a live contact has by now comes back without that.",
		}}
}

// sentence joins words with commas and an and; alternatives does with an or.
func sentence(list []string) string     { return joined(list, " and ") }
func alternatives(list []string) string { return joined(list, " or ") }

func joined(list []string, last string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	n := len(list) - 1
	return strings.Join(list[:n], ", ") + last + list[n]
}

func upperFirst(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// inDays shows a window to people.
func inDays(n Nanos) string {
	switch {
	case n == Day:
		return "1 day"
	case n%Day == 0:
		return strconv.FormatInt(int64(n/Day), 10) + " days"
	}
	return n.Days()
}

func joinLines(lines []string) string {
	return strings.Join(slices.DeleteFunc(lines, func(s string) bool { return s == "" }), "\n")
}
