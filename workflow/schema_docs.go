package workflow

import (
	"slices"
	"strings"

	"github.com/reprieve-run/reprieve/crm"
)

func topDocs() map[string]js {
	return map[string]js{
		"version": described("The version of the format: 1", js{"enum": jsList{1}}),
		"id": described("How commands, logs and tombstones name this workflow; grants and run keys belong to it. "+
			"a-z, 0-9 and -, at most 63 characters", js{"type": "string", "pattern": workflowID.String()}),
		"name": described("For people; the id if missing", anyText),
		"triggers": described("What starts runs: events, schedules. At least one",
			js{"type": "array", "minItems": 1, "items": triggerSchema()}),
		"filter": described("A condition on the contact; checked again in the transaction that starts the run", anyExpr),
		"run":    described("How many runs there may be, and what ends one early", mapping(runKeys, runDocs())),
		"steps": described("What a run does, in order. At least one",
			js{"type": "array", "minItems": 1, "items": js{"$ref": "#/definitions/step"}}),
		"on_error": described("Steps that are taken when a step has failed for good", js{"$ref": "#/definitions/steps"}),
		"end":      described("The last line of every file: a file without it may be half of one, and is not applied", js{"const": true}),
		"tests":    described("Cases that `reprieve workflow test` runs in virtual time", list(mapping(testKeys, testDocs(), "name"))),
	}
}

func runDocs() map[string]js {
	return map[string]js{
		"key": described("An expression that gives a text; what `mode` counts are the runs that hold the same one. Default: contact.id", anyExpr),
		"mode": described("What happens when a run would start while another holds the key. single: it does not start. "+
			"restart: it starts, and the other ends. queued: it waits until those before it are over. parallel: it starts beside them", enum(modeWords...)),
		"max": described("With the modes queued and parallel: how many unfinished runs a key may have, those in the queue too. Default: 10",
			js{"type": "integer", "minimum": 2, "maximum": maxMax}),
		"reenter": described("When a key that had a run may have another: never, always (the default), or {after: 30d} from the start of the last",
			js{"anyOf": jsList{enum("never", "always"), closed(map[string]js{"after": described("How long after the start of the last run", duration)}, "after")}}),
		"cancel_on": described("Events that end the contact's unfinished runs, the suspended ones too", list(closed(map[string]js{
			"event":  described("The kind of event", enum(eventKinds()...)),
			"if":     described("A condition on event.* and contact.*", anyExpr),
			"reason": described("A word or two that the run shows, as in resubscribed", anyText),
		}, "event"))),
		"timeout": described("How long a run may take from its start", duration),
	}
}

func triggerDocs() map[string]js {
	event := enum(eventKinds()...)
	var about jsList
	for _, k := range eventKinds() {
		var names []string
		for _, f := range crm.TriggerKinds[k] {
			names = append(names, "event."+f.Name)
		}
		about = append(about, strings.Join(names, ", "))
	}
	event["enumDescriptions"] = about
	return map[string]js{
		"id":      described("The trigger's own name, unique in the file. a-z, 0-9 and _, a letter first", idText),
		"event":   described("The kind of event that starts a run. A restore starts nothing", event),
		"if":      described("A condition on event.* and contact.*; both are as they were right after the event", anyExpr),
		"becomes": described("A condition on the contact that was false before the event and is true after it", anyExpr),
		"webhook": described("Requests from outside, each about one contact: JSON objects, which if and steps read as event.body", closed(map[string]js{
			"contact": described("An expression on event.body that gives the contact's id, e-mail, phone or id in another system", anyExpr),
			"by":      described("What contact gives. Without it that shows by its form: an id, then an e-mail, an id in another system, a phone number", enum("id", "email", "phone", "external_id")),
		}, "contact")),
		"cron": described("A schedule: five fields, or @hourly, @daily, @weekly, @monthly, @yearly", anyText),
		"over": described("Whom the schedule goes over: live contacts, or deleted ones",
			enum("contacts", "contacts.deleted")),
		"where":    described("A condition that selects among them; without it everybody, except contacts that were restored", anyExpr),
		"timezone": described("An IANA name, as in Europe/Berlin. Default: UTC", anyText),
		"dst": described("What becomes of times of day that the clocks skip in spring or show twice in autumn", closed(map[string]js{
			"gap":     described("next: at the first instant after the gap. skip: not at all", enum("next", "skip")),
			"overlap": described("first: once. both: twice", enum("first", "both")),
		})),
		"misfire": described("What becomes of fires that came due while nothing ran", closed(map[string]js{
			"policy": described("last: the latest of them. all: each. none: they are lost", enum("last", "all", "none")),
			"within": described("How long after its instant a fire may be made up for; at most 31d. Default: 24h", duration),
		})),
		"batch": described("How many runs a fire starts at most; the contacts behind them are the next fire's", js{"type": "integer", "minimum": 1, "maximum": maxBatchOf}),
		"rate":  described("How many runs are started in any stretch of time: 500/h; units s, m, h, d", js{"type": "string", "pattern": rateForm.String()}),
		"guard": described("A fire that selects more contacts than this starts nothing; the next one tries anew", js{
			"anyOf": jsList{js{"required": []string{"max_items"}}, js{"required": []string{"max_percent"}}}, "type": "object", "additionalProperties": false,
			"properties": map[string]js{
				"max_items":   described("So many contacts", js{"type": "integer", "minimum": 0, "maximum": 1<<31 - 1}),
				"max_percent": described("So many percent of the contacts that the schedule goes over", js{"type": "number", "minimum": 0, "maximum": 100}),
			}}),
	}
}

func stepDocs(cat Catalogue) map[string]js {
	arm := closed(map[string]js{
		"if":    described("The arm is taken if this condition holds, and none before it did", anyExpr),
		"else":  described("true: the arm is taken if no other is. The last one", js{"enum": jsList{true}}),
		"steps": described("The arm's steps; after the last of them the run goes on behind the branch", js{"$ref": "#/definitions/steps"}),
	}, "steps")
	arm["oneOf"] = jsList{js{"required": []string{"if"}}, js{"required": []string{"else"}}}
	return map[string]js{
		"id":     described("The step's own name, unique in the whole file. a-z, 0-9 and _, a letter first", idText),
		"action": described("The action that a plugin executes", actionNames(cat)),
		"with":   described("The action's parameters. Texts are templates: ${ expression }", js{"type": "object"}),
		"wait": described("Sleeps: a duration as in 14d, 36h or 1d12h. The instant is stored, so it survives anything",
			js{"anyOf": jsList{duration, waitSchema()}}),
		"branch": described("Goes on with the first arm whose condition holds", js{"type": "array", "minItems": 1, "items": arm}),
		"exit": described("Ends the run", closed(map[string]js{
			"status": described("What the run is then", enum("completed", "skipped", "failed")),
			"reason": described("Why; a template", anyExpr),
		}, "status")),
		"set": described("Values that later steps read as steps.ID.output.NAME. Texts are templates: ${ expression }",
			js{"type": "object", "minProperties": 1, "propertyNames": js{"pattern": setName.String()}}),
		"for_each": described("Steps for each item of a list", js{}),
		"parallel": described("Steps beside each other", js{}),
		"call":     described("Another workflow", js{}),
		"retry": described("How often and when an action that failed is tried again", closed(map[string]js{
			"attempts": described("How often it is tried in all, from 1 to 100", js{"type": "integer", "minimum": 1, "maximum": 100}),
			"first":    described("How long after the first time; then twice as long each time. At most 1d", duration),
			"most":     described("The longest time between two tries. At most 1d", duration),
			"on":       described("The codes of failures that are tried again", list(anyExpr)),
		})),
		"timeout": described("How long one attempt of an action may take, from 100ms to 1h; one that takes longer has failed with the code timeout", duration),
		"on_error": described("What happens when the step has failed for good: fail (the default), continue, or steps, after which the run goes on",
			js{"anyOf": jsList{enum("fail", "continue"), js{"$ref": "#/definitions/steps"}}}),
	}
}

// testDocs describes a case of a file's tests.
func testDocs() map[string]js {
	contact := mapping(contactKeys, nil)
	free := js{}
	expect := mapping(expectKeys, map[string]js{
		"run":      described("What becomes of the contact's run: {status, reason, step}", free),
		"runs":     described("How many runs there are, or what becomes of each", free),
		"actions":  described("The actions that were executed, in order", free),
		"contact":  described("What the contact is by then", free),
		"contacts": described("What each contact is by then", free),
	})
	return map[string]js{
		"name":     described("What the case shows; unique in the file", anyText),
		"now":      described("The instant at which the case begins, as in 2026-03-02T09:00:00Z", free),
		"contact":  described("The contact that the case is about", contact),
		"contacts": described("The contacts that the case is about", list(contact)),
		"mocks":    described("What actions answer instead of being executed, by the action's name", js{"type": "object"}),
		"send":     described("An event that happens, or a request to one of the file's webhooks", sendSchema()),
		"advance":  described("Time passes, and on the way what is due happens", duration),
		"delete":   described("A person deletes the contact", free),
		"restore":  described("A person restores the contact", free),
		"then": described("More that happens, in order", list(closed(map[string]js{
			"send":    described("An event that happens, or a request to one of the file's webhooks", sendSchema()),
			"advance": described("Time passes, and on the way what is due happens", duration),
			"delete":  described("A person deletes the contact", free),
			"restore": described("A person restores the contact", free),
			"expect":  described("What has to have come of it by then", expect),
		}))),
		"expect": described("What has to have come of it at the end", expect),
	}
}

// sendSchema describes what a case can send.
func sendSchema() js {
	var kinds []crm.EventKind
	docs := map[string]js{
		"webhook": described("The id of a webhook of the file, to which a request comes", idText),
		"body":    described("The request's body. The trigger's contact is looked for in it, as when it comes from outside", js{"type": "object"}),
		"contact": described("Whom it is about: the id of a contact of the case; the first one if missing", anyText),
	}
	for kind, names := range sendKeys {
		kinds = append(kinds, kind)
		for _, name := range names {
			docs[name] = described(sendWords[name], js{})
		}
	}
	slices.Sort(kinds)
	docs["event"] = described("The kind of event; the change that causes it is made", enum(kinds...))
	s := closed(docs)
	s["oneOf"] = jsList{js{"required": []string{"event"}}, js{"required": []string{"webhook", "body"}}}
	return s
}

// sendWords say what goes with an event.
var sendWords = map[string]string{
	"tag": "The tag", "field": "The field's name; of contact.identity_changed email, phone or external_id", "value": "The field's new value",
	"list": "The list's name", "status": "Of a list: subscribed, unsubscribed, unconfirmed, bounced or none. Of a record: its status",
	"channel": "The channel", "on": "true or false", "kind": "The kind of record", "title": "The record's title", "body": "A record's text; a request's body, an object",
	"campaign": "The campaign's name",
}
