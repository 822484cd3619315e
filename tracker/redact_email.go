package tracker

import (
	"strings"
	"unicode/utf8"
)

// redactEmails replaces whole runs of the characters of e-mail addresses, so that nothing of an unusual
// address is left standing beside the replacement.
func redactEmails(s string, n *Replaced) string {
	return replaceRuns(s, isMailByte, func(run string) string {
		if isEmail(run) {
			return n.mark(replacedEmail)
		}
		return run
	})
}

// spelledAt are ways to write an @ and a dot that people and templates use to hide addresses from programs.
var spelledAt = strings.NewReplacer("(at)", "@", "[at]", "@", "(AT)", "@", "[AT]", "@", " (at) ", "@", " [at] ", "@",
	"(dot)", ".", "[dot]", ".", " (dot) ", ".", " [dot] ", ".",
	"&#64;", "@", "&#x40;", "@", "&commat;", "@", "\uff20", "@", "\ufe6b", "@")

// redactSpelledEmails replaces addresses whose @ is spelled out. Where there are none, the text stays as it is.
func redactSpelledEmails(s string, n *Replaced) string {
	plain := spelledAt.Replace(s)
	if plain == s {
		return s
	}
	if redacted := redactEmails(plain, n); redacted != plain {
		return redacted
	}
	return s
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
		if isRelease(rest) {
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

// isRelease tells whether what stands behind an @ is the version of a package (vue@3.4.21.min.js) or the density of an
// image (logo@2x.png) and no host. Hosts of mail do not begin like that.
func isRelease(rest string) bool {
	digits := countDigits(rest)
	if digits == 0 || len(rest) < digits+2 {
		return false
	}
	if rest[digits] == 'x' {
		return digits == 1 && rest[digits+1] == '.'
	}
	return rest[digits] == '.' && isDigit(rest[digits+1])
}

// cutAt cuts an @ from the front of s, however often it was escaped: @, %40, %2540, %252540, %u0040.
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
	return strings.CutPrefix(strings.TrimPrefix(rest, "u00"), "40")
}
