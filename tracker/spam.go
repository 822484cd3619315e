package tracker

import (
	_ "embed"
	"strings"
)

// spamTable lists the domains of referrer spammers, one in a line, sorted; see data/NOTICE.txt. A hit that names one as its
// referrer was sent to make the owner of a site look there.
//
//go:embed data/spammers.txt
var spamTable string

// isSpam tells whether a referrer, as Origin has it, is a page of a spammer: of the domain or of one below it.
func isSpam(referrer string) bool {
	domain, _, _ := strings.Cut(referrer, "/")
	for strings.Contains(domain, ".") {
		if inLines(spamTable, domain) {
			return true
		}
		_, domain, _ = strings.Cut(domain, ".")
	}
	return false
}

// inLines finds a line in sorted lines by binary search over their bytes.
func inLines(lines, line string) bool {
	low, high := 0, len(lines) // both at the start of a line
	for low < high {
		start := low + (high-low)/2
		start = low + strings.LastIndexByte(lines[low:start], '\n') + 1
		end := start + strings.IndexByte(lines[start:], '\n')
		switch strings.Compare(line, lines[start:end]) {
		case 0:
			return true
		case -1:
			high = start
		case 1:
			low = end + 1
		}
	}
	return false
}
