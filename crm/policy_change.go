package crm

// PolicyChange is a knob that differs between two policies.
type PolicyChange struct {
	Path  string `json:"path"`
	Was   string `json:"was"`
	Is    string `json:"is"`
	Means string `json:"means"` // what is different from now on, and for which contacts
}

// Changes says what becomes different when next takes the place of p, in the order of Knobs. No change
// shortens a deadline that was stamped.
func (p Policy) Changes(next Policy) []PolicyChange {
	var changes []PolicyChange
	for _, k := range Knobs() {
		if was, is := k.Show(p), k.Show(next); was != is {
			changes = append(changes, PolicyChange{k.Path, was, is, k.means(next)})
		}
	}
	return changes
}

// means says what the knob's value in p means from now on.
func (k Knob) means(p Policy) string {
	says := k.says(k.get(&p))
	if says == "" {
		return k.since
	}
	return upperFirst(says) + ". " + k.since
}
