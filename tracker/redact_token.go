package tracker

import "strings"

const (
	// minID is the length from which a run of digits, or of letters and digits that is no text, is taken for the id of
	// something or somebody. Shorter ones are too often dates, prices, colours and versions.
	minID = 20
	// minHex is the same for hexadecimal numbers in which digits and letters take turns: 64 bits.
	minHex = 16
	// minTurns is how often they do at least. A date with a colour or a word behind it has fewer.
	minTurns = 4
	// minMixed is the same for all letters in one case, which words and numbers written together seldom reach.
	minMixed = 5
	// uuidLen is the length of a UUID in its usual form.
	uuidLen = 36
	// minSecret is the least that stands behind the prefix of a secret, minObject behind that of a customer's number.
	minSecret = 12
	minObject = 14
	// minPiece is the least that tells whether a piece of a run is a word.
	minPiece = 5
)

// Prefixes that well-known services put before secrets and before the numbers of customers, payments and the like, so that
// programs can find them in texts. Secrets without a prefix, or behind others, are found by isOpaque if they are long enough.
var (
	secretPrefixes = []string{"sk_live_", "sk_test_", "pk_live_", "pk_test_", "rk_live_", "rk_test_", "whsec_", "cs_live_", "cs_test_", // Stripe
		"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", // GitHub, GitLab
		"xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xapp-", // Slack
		"AKIA", "ASIA", "AIza", "ya29.", "SG.", "shpat_", "shpss_", "npm_", "dop_v1_"} // Amazon, Google, SendGrid, Shopify, npm, DigitalOcean
	objectPrefixes = []string{"cus_", "pi_", "seti_", "pm_", "sub_", "ch_", "txn_", "acct_", "evt_"} // Stripe
)

// prefixInitials are the first letters of these, by which nearly all words can be passed over.
const prefixInitials = "aAcdeghnprsStwxy"

// redactTokens replaces JSON web tokens, whose first parts are JSON objects in base64, which always begin with eyJ, and
// secrets that are known by their prefix.
func redactTokens(s string, n *Replaced) string {
	return replaceRuns(s, isTokenByte, func(run string) string {
		if len(run) < minHex {
			return run
		}
		if i := strings.Index(run, "eyJ"); i >= 0 && len(run)-i >= minID && strings.Contains(run[i:], ".") {
			return run[:i] + n.mark(replacedToken)
		}
		if i := secretAt(run); i >= 0 {
			return run[:i] + n.mark(replacedToken)
		}
		return run
	})
}

func isTokenByte(c byte) bool { return isIDByte(c) || c == '.' || c == '=' }

// isIDByte tells whether c is of the alphabet of base64 for addresses.
func isIDByte(c byte) bool { return isAlnum(c) || c == '-' || c == '_' }

// secretAt returns where a secret with a known prefix begins in a run, -1 if nowhere.
func secretAt(run string) int {
	for i := 0; i+minSecret < len(run); i++ {
		if i > 0 && isAlnum(run[i-1]) || strings.IndexByte(prefixInitials, run[i]) < 0 {
			continue
		}
		for _, prefix := range secretPrefixes {
			if rest, ok := strings.CutPrefix(run[i:], prefix); ok && len(rest) >= minSecret && look(rest).digit {
				return i
			}
		}
		for _, prefix := range objectPrefixes {
			if rest, ok := strings.CutPrefix(run[i:], prefix); ok && len(rest) >= minObject {
				if l := look(rest); l.digit && l.small && l.capital {
					return i
				}
			}
		}
	}
	return -1
}

// redactUUIDs replaces 8-4-4-4-12 hexadecimal digits, whatever stands beside them.
func redactUUIDs(s string, n *Replaced) string {
	if len(s) < uuidLen {
		return s
	}
	return replaceAt(s, func(i int, _ byte) (end int, with string) {
		if i+uuidLen > len(s) || !isUUID(s[i:i+uuidLen]) {
			return 0, ""
		}
		return i + uuidLen, n.mark(replacedUUID)
	})
}

// isUUID tells whether s, uuidLen bytes, is a UUID with dashes, or underscores as in file names.
func isUUID(s string) bool {
	between := s[8]
	if between != '-' && between != '_' {
		return false
	}
	for i := range uuidLen {
		if gap := i == 8 || i == 13 || i == 18 || i == 23; gap != (s[i] == between) || !gap && !isHex(s[i]) {
			return false
		}
	}
	return true
}

// redactIDs replaces runs of letters and digits.
func redactIDs(s string, n *Replaced) string {
	return replaceRuns(s, isAlnum, func(run string) string {
		if len(run) < minHex {
			return run
		}
		l := look(run)
		switch {
		case l.hex && (len(run) >= minID || l.turns >= minTurns && l.digit && !(l.small && l.capital)):
			return n.mark(replacedID)
		case l.isOpaque() || l.hexRun >= minID || l.small && l.capital && isEncodedText(run):
			return n.mark(replacedToken)
		}
		return run
	})
}

// redactScrambled replaces what random generators and base64 make with the whole alphabet of addresses, where a dash or
// underscore parts a run into pieces that are too short for redactIDs. At least half of the run must be such pieces.
func redactScrambled(s string, n *Replaced) string {
	return replaceRuns(s, isIDByte, func(run string) string {
		if len(run) < minID || strings.IndexByte(run, '-') < 0 && strings.IndexByte(run, '_') < 0 {
			return run
		}
		total, scrambled, words := 0, 0, 0
		long, plain := 0, false    // pieces that tell something; whether one of them is a word
		first, last := len(run), 0 // what the replacement goes over: no words at its ends
		for start := 0; start < len(run); {
			end := start
			for end < len(run) && isAlnum(run[end]) {
				end++
			}
			piece := run[start:end]
			total += len(piece)
			l := look(piece)
			if len(piece) >= minPiece {
				long, words = long+len(piece), words+l.words
				plain = plain || l.isWord()
				if l.isScrambled() {
					scrambled += len(piece)
				}
			}
			if piece != "" && !l.isWord() {
				first, last = min(first, start), end
			}
			start = end + 1
		}
		if !plain && words*5 > long*2 {
			scrambled = long
		}
		if total < minHex || scrambled*2 < total {
			return run
		}
		return run[:first] + n.mark(replacedToken) + run[last:]
	})
}

// looks is what a run of letters and digits looks like.
type looks struct {
	length                int
	words                 int // that are written together: CamelCase has two, X509Name has three, random letters one in two
	turns                 int // from digits to letters and back
	digit, small, capital bool
	shout                 bool // a capital that no small letter follows
	hex                   bool
	hexRun                int // the longest run of hexadecimal digits with a decimal one in it
}

// look looks at the letters and digits of a run.
func look(run string) looks {
	l := looks{length: len(run), hex: true}
	const other, digit, small, capital = 0, 1, 2, 3
	before := other
	hexRun, hexDigit := 0, false
	for i := range len(run) {
		kind := other
		switch c := run[i]; {
		case isDigit(c):
			kind, l.digit = digit, true
		case 'a' <= c && c <= 'z':
			kind, l.small = small, true
		case 'A' <= c && c <= 'Z':
			kind, l.capital = capital, true
			l.shout = l.shout || i+1 == len(run) || run[i+1] < 'a'
		}
		if isHex(run[i]) {
			hexRun++
			if hexDigit = hexDigit || kind == digit; hexDigit {
				l.hexRun = max(l.hexRun, hexRun)
			}
		} else {
			l.hex, hexRun, hexDigit = false, 0, false
		}
		follows := i > 0 && i+1 < len(run) && run[i+1] >= 'a' // a small letter, and another one was before
		switch {
		case kind == other:
		case kind != before && !(before == capital && kind == small):
			l.words++
		case kind == capital && before == capital && follows:
			l.words++
		}
		if (kind == digit) != (before == digit) && before != other && kind != other {
			l.turns++
		}
		before = kind
	}
	return l
}

// isWord tells whether a run is one word, or an acronym, of three letters at least.
func (l looks) isWord() bool { return l.length >= 3 && l.words == 1 && !l.digit }

// isOpaque tells whether a run is one of a random generator or of base64, and not words and numbers that are written together,
// as in Top10ThingsToSeeInRome: its words are too short. Of random runs of minID one in hundreds looks like text.
func (l looks) isOpaque() bool {
	switch {
	case l.length < minID || !l.digit || !l.small && !l.capital:
		return false
	case l.small && l.capital && !l.shout:
		return l.isScrambled()
	case l.small != l.capital && l.turns >= minMixed:
		return true
	}
	return l.words*3 >= l.length
}

// isScrambled tells whether the words of a run are shorter than those of any language: less than two and a half letters.
func (l looks) isScrambled() bool { return l.words*5 > l.length*2 }

// isEncodedText tells whether a run is base64 of printable ASCII. Words are not: every letter from g on at the wrong place
// makes a byte beyond it.
func isEncodedText(run string) bool {
	var bits uint32
	for i := range len(run) {
		bits = bits<<6 | uint32(sextet(run[i]))
		if i%4 != 3 {
			continue
		}
		for shift := 16; shift >= 0; shift -= 8 {
			if c := byte(bits >> shift); c < ' ' || c > '~' {
				return false
			}
		}
	}
	return len(run)%4 != 1
}

// sextet returns the value of a letter or digit in base64.
func sextet(c byte) byte {
	switch {
	case isDigit(c):
		return c - '0' + 52
	case c >= 'a':
		return c - 'a' + 26
	}
	return c - 'A'
}
