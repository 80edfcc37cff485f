package crm

// The mutations by which a workflow has another one begin or end for its contact.
type (
	// EnterWorkflow has a workflow begin for the contact, whatever its triggers say. It only announces
	// that; whether a run starts is decided as for every event, by Event.Trigger and by the workflow's own
	// filter, key and mode.
	EnterWorkflow struct {
		Contact  Key
		Workflow string
	}
	// LeaveWorkflow ends the contact's unfinished runs of a workflow, those that stand still too, but never
	// the run that asks for it.
	LeaveWorkflow struct {
		Contact  Key
		Workflow string
	}
)

// Target implements Mutation.
func (m EnterWorkflow) Target() Key { return m.Contact }

// Target implements Mutation.
func (m LeaveWorkflow) Target() Key { return m.Contact }

func (EnterWorkflow) mutation() {}
func (LeaveWorkflow) mutation() {}

// The events of these. No trigger of a file can name them.
const (
	WorkflowEntered EventKind = "workflow.entered" // a run of Data.Name is to start, if it may
	WorkflowLeft    EventKind = "workflow.left"
)

// ReasonRemoved is why a run ended that another workflow took its contact out of.
const ReasonRemoved = "removed"
