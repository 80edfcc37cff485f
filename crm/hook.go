package crm

// Request is a request to a webhook about the contact. It changes nothing of it: it is an event, which can start
// that webhook's workflow, if what refuses any event does not refuse it.
type Request struct {
	Contact Key
	Webhook string // workflow/trigger
	Body    string // as ParseBody made it
}

// Target implements Mutation.
func (m Request) Target() Key { return m.Contact }

func (Request) mutation() {}

// MaxDeliveryID is how long the id of a request may be, in bytes.
const MaxDeliveryID = 200
