package triggers

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/reprieve-run/reprieve/crm"
)

// render shows a value in a text: nothing for what is missing, instants as RFC 3339, lists with
// commas, anything deeper as JSON.
func render(v any) (string, error) {
	var s string
	switch v := v.(type) {
	case nil:
	case string:
		s = v
	case bool:
		s = strconv.FormatBool(v)
	case int:
		s = strconv.Itoa(v)
	case float64:
		s = crm.Number(v).String()
	case time.Time:
		s = crm.At(v).String()
	case time.Duration:
		s = v.String()
	case []string:
		s = strings.Join(v, ", ")
	case []any, map[string]any:
		if tooDeep(v, maxText) < 0 {
			return "", errText
		}
		b, err := json.Marshal(v)
		if err != nil {
			return "", errKind
		}
		s = string(b)
	default:
		return "", errKind
	}
	return s, checkSize(s)
}

// tooDeep takes what a value's JSON needs at the least off a budget; below zero it does not fit, which
// is known before anything is made of it.
func tooDeep(v any, left int) int {
	switch v := v.(type) {
	case string:
		left -= len(v)
	case []any:
		for _, e := range v {
			if left = tooDeep(e, left-1); left < 0 {
				return left
			}
		}
	case map[string]any:
		for k, e := range v {
			if left = tooDeep(e, left-len(k)-1); left < 0 {
				return left
			}
		}
	}
	return left - 1
}

// say makes the error of an evaluation, with the place in the file and without any value.
func (s Source) say(offset int, err error) error {
	hint := ""
	var own evalError
	var m *misfit
	switch {
	case errors.As(err, &m):
		hint = m.hint
	case !errors.As(err, &own): // the library's words may repeat a value
		err = refuse("the expression cannot be evaluated on these values")
	}
	line, column := s.position(offset)
	at := fmt.Sprintf("%d:%d", line, column)
	if s.File != "" {
		at = s.File + ":" + at
	}
	return crm.Errorf("evaluate an expression", crm.CodeInvalid, "%s: %w", at, err).WithHint("%s", hint)
}
