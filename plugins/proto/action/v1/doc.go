// Package actionv1 is the protocol between the host and its plugins, version 1: the generated code
// of action.proto, and what both ends must agree on beyond it.
//
// It must never shrink or change a meaning, and it must know nothing of either end: it is the only
// package that both of them share.
package actionv1

import (
	"slices"
	"strings"
)

// What both ends present in the handshake. The cookie only tells a plugin that it was started by a
// host; it protects nothing.
const (
	ProtocolVersion = 1 // go-plugin's, and the number in the proto package
	CookieKey       = "REPRIEVE_PLUGIN"
	CookieValue     = "reprieve.action.v1"
	PluginName      = "action" // under which go-plugin knows the service
)

// The limits of the wire, in bytes unless said otherwise.
const (
	MaxItems   = 1000     // items in one Execute
	MaxRequest = 1 << 20  // what the host sends in one Execute
	MaxReceive = 16 << 20 // what a plugin must be able to receive
	MaxReply   = 4 << 20  // what the host accepts
	MaxOutput  = 64 << 10 // one item's output
	MaxEffects = 100      // one item's effects, a count
)

// ReadWords are the facts that an action may declare to read; beside them there is "fields.NAME".
var ReadWords = []string{"tags", "lists", "fields", "email", "phone", "external_id", "dnd", "created_at", "tombstone"}

// EffectWords are the kinds of effect that an action may declare.
var EffectWords = []string{"contact.delete", "contact.restore", "contact.purge", "contact.archive", "contact.unarchive",
	"tag.add", "tag.remove", "field.set", "list.add", "list.remove", "campaign.add", "campaign.remove",
	"workflow.add", "workflow.remove", "task.create", "note.create", "dnd.set"}

// ValidRead says whether w names facts that an action may read.
func ValidRead(w string) bool {
	if name, ok := strings.CutPrefix(w, "fields."); ok {
		return name != "" && strings.TrimSpace(name) == name
	}
	return slices.Contains(ReadWords, w)
}

// ValidEffect says whether w is a kind of effect.
func ValidEffect(w string) bool { return slices.Contains(EffectWords, w) }
