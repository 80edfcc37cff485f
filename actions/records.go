package actions

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/reprieve-run/reprieve/plugins/sdk"
)

type taskParams struct {
	Title string `json:"title" jsonschema:"what is to be done"`
	Body  string `json:"body,omitempty" jsonschema:"more about it"`
	Due   string `json:"due,omitempty" pattern:"^\\s*(|[0-9]{1,5}d|([0-9]+(\\.[0-9]+)?(h|m|s|ms|us|ns))+|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]+)?(Z|[-+][0-9]{2}:[0-9]{2}))\\s*$" jsonschema:"when it is due: an instant as 2026-05-04T09:00:00Z, or a time from the step on as 3d, 36h or 90m"`
}

var taskCreate = sdk.Action{
	Name:    "task.create",
	Summary: "Create a task of the contact.",
	Effects: []sdk.EffectKind{sdk.TaskCreate},
	Run: sdk.Func(func(_ context.Context, call sdk.Call, p taskParams) (sdk.Effects, error) {
		due, err := p.due(call.Now)
		if err != nil {
			return nil, err
		}
		title := strings.TrimSpace(p.Title)
		if title == "" {
			return nil, invalid("the title is empty")
		}
		return onLive(call, func(i int) sdk.Effects { return sdk.Effects{sdk.CreateTask(i, title, p.Body, due)} })
	}),
}

// due reads the instant, which must lie within what a store can hold.
func (p taskParams) due(now time.Time) (time.Time, error) {
	text := strings.TrimSpace(p.Due)
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		if at.Year() < 1971 || at.Year() > 2261 {
			return time.Time{}, invalid("due is not between 1971 and 2261")
		}
		return at, nil
	}
	if days, is := strings.CutSuffix(text, "d"); is {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil || n > 36500 {
			return time.Time{}, invalid("due is no number of days up to 36500")
		}
		return now.Add(time.Duration(n) * 24 * time.Hour), nil
	}
	after, err := time.ParseDuration(text)
	if err != nil || after < 0 || after > 36500*24*time.Hour {
		return time.Time{}, invalid("due is neither an instant as 2026-05-04T09:00:00Z nor a time as 3d, 36h or 90m")
	}
	return now.Add(after), nil
}

type noteParams struct {
	Title string `json:"title,omitempty" jsonschema:"its heading"`
	Body  string `json:"body" jsonschema:"the note"`
}

var noteCreate = sdk.Action{
	Name:    "note.create",
	Summary: "Create a note of the contact.",
	Effects: []sdk.EffectKind{sdk.NoteCreate},
	Run: sdk.Func(func(_ context.Context, call sdk.Call, p noteParams) (sdk.Effects, error) {
		if strings.TrimSpace(p.Title+p.Body) == "" {
			return nil, invalid("the note says nothing")
		}
		return onLive(call, func(i int) sdk.Effects { return sdk.Effects{sdk.CreateNote(i, strings.TrimSpace(p.Title), p.Body)} })
	}),
}
