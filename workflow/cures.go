package workflow

// Cure shows a diagnostic by example: lines of a file that cause it, the same lines as they should be, and what there
// is to know besides.
type Cure struct {
	Wrong string `json:"wrong,omitempty"`
	Right string `json:"right,omitempty"`
	Say   string `json:"say,omitempty"`
}

// Cures are the examples of the diagnostics, of those of package triggers too. Each stands for the keys of a file that
// it names; a test puts it into one, and finds the code with Wrong and nothing with Right.
var Cures = map[string]Cure{
	"E101": {"filter: contact.archived = true", "filter: contact.archived == true",
		"Where an expression is asked for it stands bare; in other texts it stands in ${ }. The words are and, or, not, ==, in."},
	"E102": {"filter: contcat.archived", "filter: contact.archived", "What has a name, and where, is in docs/file-format.md under Expressions."},
	"E103": {`filter: contact.tags contains "VIP"`, `filter: '"VIP" in contact.tags'`,
		"A field that an import or --field wrote is text: float(contact.fields.score ?? \"0\") < 5."},
	"E104": {"filter: '\"VIP\" in contact.tgas'", "filter: '\"VIP\" in contact.tags'", "Fields of one's own stand under contact.fields: contact.fields.plan."},
	"E105": {"filter: contact.email", `filter: contact.email != ""`, "A condition is true or false; a text that is there is not yet true."},
	"E107": {"filter: any(contact.tags, any(contact.tags, true))", `filter: 'any(contact.tags, # startsWith "vip-")'`, "What has no bound, or multiplies, cannot be written: ranges, let, map, nested any and all."},
	"E108": {`filter: event.tag == "VIP"`, "triggers: [{id: t, event: contact.tag_added, if: event.tag == \"VIP\"}]",
		"The filter is asked again when the run starts, and so knows the contact alone; what is said of the event belongs into the trigger's if."},
	"E109": {`filter: contact.created_at < now - duration("14 days")`, `filter: contact.created_at < now - duration("14d")`, "Units are w d h m s ms, joined without spaces: 1d12h."},
	"E110": {"steps: [{id: a, action: log.write, with: {level: info, text: \"Dear ${ contact.first_name\"}}]",
		"steps: [{id: a, action: log.write, with: {level: info, text: \"Dear ${ contact.first_name }\"}}]", "A text that should hold ${ itself writes $${."},
	"E112": {"triggers: [{id: t, becomes: now > contact.created_at}]", "triggers: [{id: t, becomes: contact.archived}]", "becomes is looked at when something of the contact changes. For what time alone brings about, use cron with where."},
	"E121": {"triggers: [{id: t, cron: \"0 24 * * *\", over: contacts}]", "triggers: [{id: t, cron: \"0 0 * * *\", over: contacts}]",
		"Five fields: minute, hour, day of the month, month, weekday; or @hourly, @daily, @weekly, @monthly, @yearly."},
	"E123": {"triggers: [{id: t, cron: \"@daily\", over: contacts, timezone: CEST}]", "triggers: [{id: t, cron: \"@daily\", over: contacts, timezone: Europe/Berlin}]", ""},
	"E200": {"name: \"a quote that nobody closes", "name: \"a quote that somebody closes\"", "Indent with spaces, put a text with : or # or { into quotes, and look at the line before as well."},
	"E201": {"steps: [{id: a, wiat: 1d}]", "steps: [{id: a, wait: 1d}]", "Nothing is ignored, so that a misspelt filter is no missing one."},
	"E202": {"steps: [{id: a, parallel: []}]", "steps: [{id: a, wait: 1d}]", "It is reserved for a later version."},
	"E203": {"steps: [{wait: 1d}]", "steps: [{id: a, wait: 1d}]", "If much is missing at the end, the file may be half of one: see E223."},
	"E204": {"steps: {id: a, wait: 1d}", "steps: [{id: a, wait: 1d}]", "YAML makes numbers of digits and a list of - alone; quotes make text."},
	"E205": {"run: {mode: singel}", "run: {mode: single}", ""},
	"E206": {"steps: [{id: Cool Off, wait: 1d}]", "steps: [{id: cool_off, wait: 1d}]", "Steps and triggers: a-z, 0-9 and _; the file's own id: a-z, 0-9 and -."},
	"E207": {"steps: [{id: a, wait: 1d}, {id: a, wait: 2d}]", "steps: [{id: a, wait: 1d}, {id: b, wait: 2d}]", "Ids of steps are unique in the whole file, also across the arms of a branch."},
	"E208": {"run: {mode: single, mode: queued}", "run: {mode: queued}", ""},
	"E211": {"steps: [{id: a, wait: &long 14d}, {id: b, wait: *long}]", "steps: [{id: a, wait: 14d}, {id: b, wait: 14d}]", ""},
	"E212": {"name: !!str 2026", "name: \"2026\"", ""},
	"E213": {"name: one\n---\nname: two", "name: one", "Each workflow is a file of its own; workflow apply takes a folder."},
	"E216": {"steps: [{id: a, wait: 1d, action: log.write}]", "steps: [{id: a, wait: 1d}, {id: b, action: log.write, with: {level: info, text: hello}}]", "A step does one thing, a trigger has one cause."},
	"E217": {"steps: [{id: a, branch: [{else: true, steps: []}, {if: contact.archived, steps: []}]}]",
		"steps: [{id: a, branch: [{if: contact.archived, steps: []}, {else: true, steps: [{id: b, wait: 1d}]}]}]", ""},
	"E218": {"steps: [{id: a, wait: 14 days}]", "steps: [{id: a, wait: 14d}]", "Units are w d h m s ms, joined without spaces: 1d12h. A day is 24 hours."},
	"E219": {"triggers: [{id: t, cron: \"@daily\"}]", "triggers: [{id: t, cron: \"@daily\", over: contacts}]", "over: contacts.deleted goes over those that can still be restored."},
	"E220": {"steps: [{id: a, set: {phone: 0049301}}]", "steps: [{id: a, set: {phone: \"0049301\"}}]", "YAML would read it as another number."},
	"E223": {"", "end: true", "Write end: true as the last line. A beginning of a YAML file is mostly a YAML file too: without that line, half a file would be a workflow that deletes without its filter."},
	"E224": {"steps: [{id: a, action: hushed, with: {token: abc}}]", "steps: [{id: a, action: hushed, with: {token: \"${ secrets.crm_token }\"}}]",
		"The operator keeps the value in actions.yaml (docs/operations.md). It goes only into a parameter that the action marks with writeOnly, alone, and no file holds it."},
	"E230": {"steps: [{id: a, action: log.wrte}]", "steps: [{id: a, action: log.write, with: {level: info, text: hello}}]", "docs/actions.md has the built-in ones; others come with a plugin: reprieve plugin install."},
	"E231": {"steps: [{id: a, action: contact.tag, with: {ad: [VIP]}}]", "steps: [{id: a, action: contact.tag, with: {add: [VIP]}}]", ""},
	"E232": {"steps: [{id: a, action: log.write, with: {level: info}}]", "steps: [{id: a, action: log.write, with: {level: info, text: hello}}]", ""},
	"E233": {"steps: [{id: a, action: contact.tag, with: {add: VIP}}]", "steps: [{id: a, action: contact.tag, with: {add: [VIP]}}]", "A text that is one ${ } and nothing else keeps the type of its value."},
	"E234": {"steps: [{id: a, action: log.write, with: {level: loud, text: hello}}]", "steps: [{id: a, action: log.write, with: {level: error, text: hello}}]", ""},
	"W301": {"steps: [{id: a, action: contact.delete, with: {reason: x}}, {id: b, action: contact.tag, with: {add: [gone]}}]",
		"steps: [{id: b, action: contact.tag, with: {add: [gone]}}, {id: a, action: contact.delete, with: {reason: x}}]", "A deleted contact takes no change but a restore and a purge."},
	"W302": {"steps: [{id: a, exit: {status: completed}}, {id: b, wait: 1d}]", "steps: [{id: b, wait: 1d}, {id: a, exit: {status: completed}}]", ""},
	"W303": {"steps: [{id: a, branch: [{if: contact.archived, steps: []}, {if: contact.archived, steps: []}]}]",
		"steps: [{id: a, branch: [{if: contact.archived, steps: []}, {if: contact.deleted, steps: []}]}]", ""},
	"W304": {"filter: 1 == 2", "filter: contact.archived == false", ""},
	"W305": {"", "", "A purge cannot be undone. The sweep purges whoever is past the recovery window anyway: delete instead where you can."},
	"W306": {"", "", "An admin gives it with the apply: reprieve workflow apply FILE --grant contact.delete. It stays with the workflow's id until it is deleted."},
	"W307": {"run: {timeout: 7d}\nsteps: [{id: a, wait: 14d}, {id: b, wait: 1d}]", "run: {timeout: 30d}\nsteps: [{id: a, wait: 14d}, {id: b, wait: 1d}]", ""},
	"W310": {"steps: [{id: a, set: {plan: gold}}, {id: b, exit: {status: completed, reason: \"${ steps.a.output.plam }\"}}]",
		"steps: [{id: a, set: {plan: gold}}, {id: b, exit: {status: completed, reason: \"${ steps.a.output.plan }\"}}]", "What a run has not been through, and what a step does not give, is always missing."},
	"W311": {"", "", "The operator sets it in actions.yaml, under secrets and the account's name (docs/operations.md). Until then the step waits."},
	"W312": {"steps: [{id: a, action: open.none, with: {headers: {Authorization: Bearer abc}}}]", "steps: [{id: a, action: open.none, with: {headers: {Accept: text/plain}}}]",
		"http.request sends bearer: ${ secrets.its_name }, and whatever headers the operator has set for the server in actions.yaml."},
	"W313": {"steps: [{id: a, set: {who: \"Dear {{ contact.name }}\"}}]", "steps: [{id: a, set: {who: \"Dear ${ contact.name }\"}}]", "{{ }} is how other products write it; here it is text like any other."},
	"W321": {"", "triggers: [{id: t, cron: \"0 0 28 2 *\", over: contacts}]", "31 2, say, is no day of any year."},
}
