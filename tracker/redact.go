package tracker

import (
	"strings"
	"unicode/utf8"
)

// redact replaces what points to a person, wherever it stands in a path or another text that is counted, and counts in n what
// it replaces:
//   - e-mail addresses by :email,
//   - telephone numbers by :phone, those with a country code and national ones where their grouping tells them,
//   - numbers of payment cards by :card, of bank accounts (IBAN) by :iban,
//   - UUIDs by :uuid,
//   - secrets of well-known services, JSON web tokens, text in base64 and other letters and digits that are no words by :token,
//   - long hexadecimal or decimal numbers by :id.
//
// redact(redact(s)) is redact(s).
func redact(s string, n *Replaced) string {
	// A replacement can cut off what hid the thing beside it, but only so often: none is longer than what it stands for, and
	// each takes digits, capitals or an @ away and brings none.
	for {
		redacted := redactOnce(s, n)
		if redacted == s {
			return s
		}
		s = redacted
	}
}

func redactOnce(s string, n *Replaced) string {
	at, spelled, number, long := suspicious(s)
	if at {
		s = redactEmails(s, n)
	}
	if spelled {
		s = redactSpelledEmails(s, n)
	}
	if number {
		s = redactIBANs(s, n)
	}
	if long {
		s = redactTokens(s, n)
		s = redactUUIDs(s, n)
		s = redactScrambled(s, n)
		s = redactIDs(s, n)
	}
	if number {
		s = redactNumbers(s, n)
	}
	return s
}

// suspicious tells in one pass what can be in s, which in nearly all paths is nothing: an e-mail address, one with its @
// spelled out, a number of a telephone, card or account, or anything of minHex characters that is more than small letters.
func suspicious(s string) (at, spelled, number, long bool) {
	var run, digits int
	escapes := true // none has been looked at
	var signs bool  // digits or capitals in the run
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z' || c == '-' || c == '_' || c == '.':
			run++
			long = long || run >= minHex && signs
			continue
		case isDigit(c):
			digits++
			number = number || digits >= minNumber
			fallthrough
		case 'A' <= c && c <= 'Z':
			run++
			signs = true
			long = long || run >= minHex
			continue
		case c == '@':
			at = true
		case c == '%':
			at, escapes = at || escapes && strings.Contains(s[i:], "40"), false
		case c == '(' || c == '[' || c == '&' || c == '\xef':
			spelled = true
		}
		run, signs = 0, false
	}
	return at, spelled, number, long
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

// replaceAt calls find for each place in s. Where it returns the end of something, and what to write instead, that is done.
// before is the byte before the place, '/' at the start and behind an escape, whose digits mean nothing.
func replaceAt(s string, find func(i int, before byte) (end int, with string)) string {
	var out strings.Builder
	done := 0 // bytes of s that are in out
	before := byte('/')
	for i := 0; i < len(s); {
		if isEscape(s[i:]) {
			i, before = i+3, '/'
			continue
		}
		end, with := find(i, before)
		if end > 0 {
			out.WriteString(s[done:i])
			out.WriteString(with)
			done = end
		} else {
			end = i + 1
		}
		before = s[end-1]
		i = end
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
