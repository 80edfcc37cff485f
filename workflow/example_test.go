package workflow_test

import (
	"fmt"

	"github.com/reprieve-run/reprieve/triggers"
	"github.com/reprieve-run/reprieve/workflow"
)

const source = `version: 1
id: greet
triggers:
  - {id: tagged, event: contact.tag_added, if: event.tag == "New"}
steps:
  - {id: cool_off, wait: 1 hour}
  - id: greet
    acton: log.write
end: true
`

func ExampleParse() {
	_, err := workflow.Parse("greet.yaml", []byte(source))
	for _, d := range triggers.Findings(err) {
		fmt.Print(d.Render())
	}
	// Output:
	// greet.yaml:6:26: error[E218]: "1 hour" is not a duration: write 14d, 36h or 1d12h
	//  6 |   - {id: cool_off, wait: 1 hour}
	//    |                          ^^^^^^
	//    hint: write a number and a unit (w d h m s ms), as in 14d, 36h or 1d12h
	// greet.yaml:8:5: error[E201]: a step has no key "acton"
	//  8 |     acton: log.write
	//    |     ^^^^^
	//    hint: did you mean action?
}
