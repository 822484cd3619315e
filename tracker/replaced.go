package tracker

import (
	"sync/atomic"

	"dachs/storage"
)

// replacement is a kind of text that points to a person, or to something that only one person has.
type replacement uint8

const (
	replacedEmail replacement = iota
	replacedPhone
	replacedCard
	replacedIBAN
	replacedUUID
	replacedToken
	replacedID

	replacements
)

// marks stand where such a text was.
var marks = [replacements]string{":email", ":phone", ":card", ":iban", ":uuid", ":token", ":id"}

// String returns the name of the kind in reports.
func (r replacement) String() string { return marks[r][1:] }

// Replaced is how many texts of each kind were replaced. All that is known of them is their number.
type Replaced [replacements]uint16

// replacedTally counts replacements of all sites since the start.
type replacedTally [replacements]atomic.Uint64

// add adds what was replaced in a hit that was counted.
func (t *replacedTally) add(n *Replaced) {
	if *n == (Replaced{}) { // as nearly always
		return
	}
	for r, count := range n {
		t[r].Add(uint64(count))
	}
}

// noteReplaced tells the owner of a site what was replaced in a hit.
func (t *Tracker) noteReplaced(site storage.Site, n *Replaced) {
	if *n == (Replaced{}) {
		return
	}
	for r, count := range n {
		if count > 0 {
			t.note(site, storage.KindReplaced, replacement(r).String(), int64(count))
		}
	}
}

// mark counts a replacement and returns what to write.
func (n *Replaced) mark(r replacement) string {
	n[r]++
	return marks[r]
}
