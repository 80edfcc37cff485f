package workflow

// Codes are the stable codes of this package's diagnostics with what each means. E2xx refuses the
// file, W3xx does not. The codes of expressions and schedules, E1xx, are in triggers.Codes.
var Codes = map[string]string{
	codeSyntax:    "the file is not YAML",
	codeKey:       "nothing has that key here",
	codeLater:     "the key or the value is part of the format, but this version cannot run it yet",
	codeMissing:   "a required key is missing, or a list that needs an item has none",
	codeType:      "the value is of the wrong type",
	codeValue:     "the value is not one of those that are possible here",
	codeName:      "the id does not have the form of an id",
	codeTwice:     "two triggers or two steps have the same id",
	codeDuplicate: "a mapping has the same key twice",
	codeSize:      "the file is longer than 256 KiB",
	codeEncoding:  "the file is not plain UTF-8 text, or holds a character that hides what it says",
	codeAnchor:    "anchors, aliases and merge keys are not part of the format",
	codeTag:       "YAML tags are not part of the format",
	codeDocument:  "the file holds a second document",
	codeDepth:     "the file is nested deeper than 32 levels",
	codeIndicator: "a block of text says its own indentation",
	codeOneOf:     "exactly one of several keys must be there",
	codeElse:      "else must be true, and the last arm of its branch",
	codeDuration:  "the duration cannot be read",
	codeOver:      "a cron trigger must say which contacts it goes over",
	codeNumber:    "the number is not written as a plain decimal number that keeps its value",
	codeSchedule:  "the schedule cannot be used",
	codeSameID:    "two files that are applied together have the same id",
	codeEnd:       "the file does not end with end: true, so it may be half of one",
	codeSecret:    "a secret stands where it does not belong",

	codeAction:      "no installed plugin has that action",
	codeParam:       "the action has no such parameter",
	codeNeedsParam:  "a parameter that the action requires is missing",
	codeParamType:   "the parameter's value is of the wrong type",
	codeParamValue:  "the parameter's value is not one of those that the action knows",
	codeParamFit:    "the parameter's value breaks a rule of the action's schema, on its size, its form or its parts",
	warnDeleted:     "the contact is deleted when the step runs, so its effect will be refused",
	warnUnreachable: "no path leads to the step",
	warnNever:       "the cron schedule never fires, or not within five years",
	warnClocks:      "the schedule says what becomes of a change of the clocks that plays no part in it",
	warnArm:         "an earlier arm of the branch takes every run that this one would",
	warnConstant:    "the condition is the same for every contact",
	warnPurge:       "the workflow purges, which nothing brings back",
	warnGrant:       "the workflow has not been granted what the step's action needs",
	warnTimeout:     "run.timeout ends every run before the wait is over",
	warnContinue:    "no step follows the one whose failure is passed over",
	warnRetry:       "retry cannot do what it says",
	warnRead:        "the step reads of another what no run has there",
	warnSecret:      "the secret that the step sends cannot be read",
	warnCredential:  "a credential stands in the file",
	warnBraces:      "the text holds {{ }}, which is written as it stands",
}

const (
	codeSyntax    = "E200"
	codeKey       = "E201"
	codeLater     = "E202"
	codeMissing   = "E203"
	codeType      = "E204"
	codeValue     = "E205"
	codeName      = "E206"
	codeTwice     = "E207"
	codeDuplicate = "E208"
	codeSize      = "E209"
	codeEncoding  = "E210"
	codeAnchor    = "E211"
	codeTag       = "E212"
	codeDocument  = "E213"
	codeDepth     = "E214"
	codeIndicator = "E215"
	codeOneOf     = "E216"
	codeElse      = "E217"
	codeDuration  = "E218"
	codeOver      = "E219"
	codeNumber    = "E220"
	codeSchedule  = "E221"
	codeSameID    = "E222"
	codeEnd       = "E223"
	codeSecret    = "E224"

	codeAction     = "E230"
	codeParam      = "E231"
	codeNeedsParam = "E232"
	codeParamType  = "E233"
	codeParamValue = "E234"
	codeParamFit   = "E235"

	warnDeleted     = "W301"
	warnUnreachable = "W302"
	warnNever       = "W321"
	warnClocks      = "W322"
	warnArm         = "W303"
	warnConstant    = "W304"
	warnPurge       = "W305"
	warnGrant       = "W306"
	warnTimeout     = "W307"
	warnContinue    = "W308"
	warnRetry       = "W309"
	warnRead        = "W310"
	warnSecret      = "W311"
	warnCredential  = "W312"
	warnBraces      = "W313"
)
