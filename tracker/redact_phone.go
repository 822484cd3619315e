package tracker

import "strings"

const (
	// maxPhoneGroups is how many groups a national number is written in at most.
	maxPhoneGroups = 5
	// Digits of a national number with its leading 0, and of one with its area in brackets.
	minNational = 9
	maxNational = 12
	minArea     = 8
)

// phoneAt returns the end of a telephone number that begins at i, or 0. A number with a country code is told by its + or 00, one
// without only by how it is written: in groups, as in 0170 1234567, (030) 901820, 06 12 34 56 78 or 555-123-4567. The same
// digits together may be an order, an article or a page.
func phoneAt(s string, i int, before byte) (end int) {
	switch c := s[i]; {
	case c == '+' && !isAlnum(before) && isCountry(s[i+1:]):
		return phone(s, i+1, minPhone)
	case before == ' ' && i > 1 && isDigit(s[i-2]): // in the midst of a number
		return 0
	case strings.HasPrefix(s[i:], "00") && !isTokenByte(before) && isCountry(s[i+2:]):
		return phone(s, i+2, minDialled)
	case !isDigit(c) && c != '(' || isAlnum(before) || before == '-' || before == '_' || before == '.':
		return 0
	case c != '(' && before == ':' && isDialled(s[:i]):
		return phone(s, i, minPhone)
	}
	return national(s, i)
}

// isCountry tells whether s may begin with the code of a country. None begins with 0.
func isCountry(s string) bool { return s != "" && isDigit(s[0]) && s[0] != '0' }

// isDialled tells whether what comes behind a scheme is a number to dial.
func isDialled(scheme string) bool {
	return strings.HasSuffix(scheme, "tel:") || strings.HasSuffix(scheme, "sms:") || strings.HasSuffix(scheme, "callto:")
}

// phone returns the end of the telephone number that begins at i, or 0. As many groups of digits
// belong to it as a number can have.
func phone(s string, i, least int) (end int) {
	digits := 0
	for i < len(s) {
		group := countDigits(s[i:])
		if digits+group > maxPhone {
			break
		}
		digits += group
		i += group
		if digits >= least {
			end = i
		}
		separators := 0
		for separators < len(s)-i && separators < 2 && strings.IndexByte(" -.()", s[i+separators]) >= 0 {
			separators++
		}
		if i += separators; i == len(s) || separators == 0 || !isDigit(s[i]) {
			break
		}
	}
	return end
}

// national returns the end of the number without a country code that begins at i, or 0.
func national(s string, i int) (end int) {
	var groups [maxPhoneGroups]int // their lengths
	n, digits := 0, 0
	first := s[i:]
	inBrackets := s[i] == '('
	if inBrackets {
		first = s[i+1:]
		groups[0] = countDigits(first)
		if n, digits = 1, groups[0]; digits < 2 || digits > 5 || len(first) <= digits || first[digits] != ')' {
			return 0
		}
		if i += digits + 2; i < len(s) && s[i] == ' ' {
			i++
		}
	}
	var between byte
	for {
		group := countDigits(s[i:])
		if group == 0 || n == maxPhoneGroups {
			return 0
		}
		groups[n] = group
		n, digits, i = n+1, digits+group, i+group
		if i+1 >= len(s) || strings.IndexByte(" -.", s[i]) < 0 || !isDigit(s[i+1]) {
			break
		}
		if between != 0 && between != s[i] && !inBrackets {
			return 0
		}
		between = s[i]
		i++
	}
	if i < len(s) && isAlnum(s[i]) || !isNational(first, groups[:n], digits, inBrackets, between) {
		return 0
	}
	return i
}

// isNational tells whether groups of digits are those of a telephone number: with an area in brackets that is no year; in
// pairs, as in France; with a leading 0; or as in North America.
func isNational(first string, groups []int, digits int, inBrackets bool, between byte) bool {
	switch {
	case inBrackets:
		year := groups[0] == 4 && (first[:2] == "19" || first[:2] == "20")
		return len(groups) > 1 && digits >= minArea && digits <= maxNational && groups[1] >= 2 && !year
	case len(groups) < 2:
		return false
	case len(groups) == 5 && first[0] == '0' && first[1] != '0':
		for _, g := range groups {
			if g != 2 {
				return false
			}
		}
		return true
	case between != '.' && first[0] == '0' && first[1] != '0' && digits >= minNational && digits <= maxNational:
		if groups[0] == 2 { // 06-12345678, 03-1234-5678; dates have two digits or a year behind
			return len(groups) == 2 && groups[1] == 8 && first[3:5] != "19" && first[3:5] != "20" || len(groups) == 3 && groups[1] == 4 && groups[2] == 4
		}
		return groups[0] >= 3 && groups[0] <= 5
	}
	return isNorthAmerican(first, groups)
}

// isNorthAmerican tells whether groups are 3-3-4, perhaps with a 1 before, and no area or exchange that cannot be.
func isNorthAmerican(first string, groups []int) bool {
	if groups[0] == 1 && first[0] == '1' {
		first, groups = first[2:], groups[1:]
	}
	return len(groups) == 3 && groups[0] == 3 && groups[1] == 3 && groups[2] == 4 && first[0] >= '2' && first[4] >= '2'
}
