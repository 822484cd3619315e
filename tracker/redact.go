package tracker

import (
	"strings"
	"unicode/utf8"
)

// minID is the length from which a run of hexadecimal digits, or of letters and digits that is no text, is taken for
// the id of something or somebody. Shorter ones are too often dates, prices, colours and versions.
const minID = 20

// uuidLen is the length of a UUID in its usual form.
const uuidLen = 36

// redact replaces what points to a person, wherever it stands in a path or another text that is counted: e-mail
// addresses by :email, telephone numbers by :phone, card numbers by :card, UUIDs by :uuid, hexadecimal or decimal
// runs of minID and more by :id, JSON web tokens and other runs of minID letters and digits that are no text by
// :token. redact(redact(s)) is redact(s).
func redact(s string) string {
	// A replacement can cut off what hid the thing beside it, but only so often: each takes digits or an @ away and
	// brings none.
	for {
		redacted := redactOnce(s)
		if redacted == s {
			return s
		}
		s = redacted
	}
}

func redactOnce(s string) string {
	at, number, long := suspicious(s)
	if at {
		s = redactEmails(s)
	}
	if long {
		s = redactTokens(s)
		s = redactUUIDs(s)
		s = redactIDs(s)
	}
	if number {
		s = redactNumbers(s)
	}
	return s
}

// suspicious tells in one pass whether there can be an e-mail address, a telephone or card number, or anything of
// minID in s, which in nearly all paths there cannot.
func suspicious(s string) (at, number, long bool) {
	run, digits := 0, 0
	for i := range len(s) {
		c := s[i]
		if isDigit(c) {
			digits++
			number = number || digits >= minNumber
		}
		switch {
		case isAlnum(c) || c == '-' || c == '_' || c == '.':
			run++
			long = long || run >= minID
			continue
		case c == '@':
			at = true
		case c == '%':
			at = at || strings.Contains(s[i:], "40")
		}
		run = 0
	}
	return at, number, long
}

// redactEmails replaces whole runs of the characters of e-mail addresses, so that nothing of an unusual
// address is left standing beside the replacement.
func redactEmails(s string) string {
	return replaceRuns(s, isMailByte, func(run string) string {
		if isEmail(run) {
			return ":email"
		}
		return run
	})
}

// isMailByte tells whether c can be part of an e-mail address as it is found in paths: %40 is @ escaped twice.
func isMailByte(c byte) bool {
	return isAlnum(c) || c >= utf8.RuneSelf || strings.IndexByte("@._+-'%", c) >= 0
}

// isEmail tells whether run looks like name@host.tld. If the first @ behind a name is none with a host, later ones
// are none either, for all that they have behind them the first one has too.
func isEmail(run string) bool {
	name := false
	for i := range len(run) {
		rest, at := cutAt(run[i:])
		if !at || !name {
			name = name || strings.IndexByte("@._+-'%", run[i]) < 0
			continue
		}
		for dot := 1; dot+2 < len(rest); dot++ {
			if rest[dot] == '.' && isLetter(rest[dot+1]) && isLetter(rest[dot+2]) {
				return true
			}
		}
		return false
	}
	return false
}

// cutAt cuts an @ from the front of s, however often it was escaped: @, %40, %2540, %252540.
func cutAt(s string) (rest string, ok bool) {
	if rest, ok = strings.CutPrefix(s, "@"); ok {
		return rest, true
	}
	if rest, ok = strings.CutPrefix(s, "%"); !ok {
		return "", false
	}
	for strings.HasPrefix(rest, "25") {
		rest = rest[2:]
	}
	return strings.CutPrefix(rest, "40")
}

// redactTokens replaces JSON web tokens: both their first parts are JSON objects in base64, which always
// begin with eyJ.
func redactTokens(s string) string {
	return replaceRuns(s, isTokenByte, func(run string) string {
		i := strings.Index(run, "eyJ")
		if i < 0 || len(run)-i < minID || !strings.Contains(run[i:], ".") {
			return run
		}
		return run[:i] + ":token"
	})
}

func isTokenByte(c byte) bool { return isAlnum(c) || c == '-' || c == '_' || c == '.' || c == '=' }

func redactUUIDs(s string) string {
	within := false // a longer word
	for i := 0; i+uuidLen <= len(s); {
		end := i + uuidLen
		if !within && isUUID(s[i:end]) && (end == len(s) || !isAlnum(s[end])) {
			s = s[:i] + ":uuid" + s[end:]
		}
		if isEscape(s[i:]) {
			i, within = i+3, false
			continue
		}
		within = isAlnum(s[i])
		i++
	}
	return s
}

// isUUID tells whether s, uuidLen bytes, is 8-4-4-4-12 hexadecimal digits.
func isUUID(s string) bool {
	for i := range uuidLen {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (s[i] == '-') || !dash && !isHex(s[i]) {
			return false
		}
	}
	return true
}

func redactIDs(s string) string {
	return replaceRuns(s, isAlnum, func(run string) string {
		switch {
		case len(run) < minID:
			return run
		case strings.Trim(run, "0123456789abcdefABCDEF") == "":
			return ":id"
		case isOpaque(run):
			return ":token"
		}
		return run
	})
}

// isOpaque tells whether a run of letters and digits is one of a random generator or of base64: with digits and both
// cases, and not words that are written together, where a capital letter is followed by a small one each time,
// as in Top10ThingsToSeeInRome. Of random runs of minID one in hundreds looks like that.
func isOpaque(run string) bool {
	var digit, small, capitals bool // capitals: one that no small letter follows
	for i := range len(run) {
		switch c := run[i]; {
		case isDigit(c):
			digit = true
		case c >= 'a':
			small = true
		default:
			capitals = capitals || i+1 == len(run) || run[i+1] < 'a'
		}
	}
	return digit && small && capitals
}

// replaceRuns calls replace for each longest run of bytes that are in a class. The digits of an escape belong to
// no run but one that has the escape as a whole. It allocates only if something is replaced.
func replaceRuns(s string, in func(byte) bool, replace func(string) string) string {
	var out strings.Builder
	done := 0 // bytes of s that are in out
	for i := 0; i < len(s); {
		if !in(s[i]) {
			if isEscape(s[i:]) {
				i += 2
			}
			i++
			continue
		}
		start := i
		for i < len(s) && in(s[i]) {
			i++
		}
		run := s[start:i]
		if with := replace(run); with != run {
			out.WriteString(s[done:start])
			out.WriteString(with)
			done = i
		}
	}
	if done == 0 {
		return s
	}
	out.WriteString(s[done:])
	return out.String()
}

// isEscape tells whether s begins with a %-escape.
func isEscape(s string) bool { return len(s) >= 3 && s[0] == '%' && isHex(s[1]) && isHex(s[2]) }

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' || c >= utf8.RuneSelf }

func isAlnum(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' }
