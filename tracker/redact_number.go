package tracker

import "strings"

// Numbers of cards and telephones, as ISO/IEC 7812 and ITU-T E.164 have them.
const (
	minCard = 13 // digits
	maxCard = 19
	// minCardGroup is the shortest group of digits in a card number that has spaces or dashes, but for the last.
	// Printed cards have 4-4-4-4, 4-6-5, 4-6-4, 6-13 and 4-3-3-3. Shorter groups are dates and book numbers.
	minCardGroup = 3
	minPhone     = 8 // digits behind the +
	maxPhone     = 15
	// minDialled is the least behind 00, which also begins numbers that are filled up with zeros: of products,
	// invoices and pages.
	minDialled = 10
	// minNumber is the least number of digits that anything here has.
	minNumber = minPhone
)

// redactNumbers replaces card numbers by :card and telephone numbers by :phone.
func redactNumbers(s string) string {
	var out strings.Builder
	done := 0           // bytes of s that are in out
	before := byte('/') // the byte before i; that of an escape means nothing
	for i := 0; i < len(s); {
		end, with := numberAt(s, i, before)
		switch {
		case end > 0:
			out.WriteString(s[done:i])
			out.WriteString(with)
			done = end
		case isEscape(s[i:]):
			end = i + 3
		default:
			end = i + 1
		}
		before = s[end-1]
		if isEscape(s[i:]) {
			before = '/'
		}
		i = end
	}
	if done == 0 {
		return s
	}
	out.WriteString(s[done:])
	return out.String()
}

// numberAt returns the end of a number that begins at i, and what to write instead; 0 if none does.
func numberAt(s string, i int, before byte) (end int, with string) {
	switch c := s[i]; {
	case c == '+' && !isAlnum(before):
		end = phone(s, i+1, minPhone)
	case c == '0' && strings.HasPrefix(s[i:], "00") && !isTokenByte(before):
		end = phone(s, i+2, minDialled)
	}
	if end > 0 {
		return end, ":phone"
	}
	fraction := before == '.' && i > 1 && isDigit(s[i-2]) // of a coordinate or a price
	if isDigit(s[i]) && !isDigit(before) && !fraction {
		end = card(s, i)
	}
	return end, ":card"
}

// phone returns the end of the telephone number, country code first, that begins at i, or 0. As many groups of digits
// belong to it as a number can have.
func phone(s string, i, least int) (end int) {
	if i >= len(s) || s[i] < '1' || s[i] > '9' { // no country code begins with 0
		return 0
	}
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

// card returns the end of the card number that begins at i, or 0: digits with the right sum, all together or in
// groups with one space or dash between them.
func card(s string, i int) (end int) {
	start, groups := i, 0
	var digits []byte
	var buf [maxCard]byte
	digits = buf[:0]
	for {
		n := countDigits(s[i:])
		if len(digits)+n > maxCard {
			return end
		}
		digits = append(digits, s[i:i+n]...)
		i += n
		groups++
		if len(digits) >= minCard && luhn(digits) && !(groups == 1 && isTimestamp(s[start:i])) && !isArticle(digits) {
			end = i
		}
		if n < minCardGroup || i+1 >= len(s) || s[i] != ' ' && s[i] != '-' || !isDigit(s[i+1]) {
			return end
		}
		i++
	}
}

func countDigits(s string) (n int) {
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n
}

// luhn tells whether the last digit is the check digit of the others, by ISO/IEC 7812-1.
func luhn(digits []byte) bool {
	sum := 0
	for i, c := range digits {
		d := int(c - '0')
		if (len(digits)-i)%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// isArticle tells whether 13 digits are the number of a book or another article (EAN-13), by their check digit. One in ten
// of them would pass for a card, while cards of 13 digits have not been issued for decades.
func isArticle(digits []byte) bool {
	if len(digits) != 13 {
		return false
	}
	sum := 0
	for i, c := range digits {
		sum += int(c-'0') * (1 + i%2*2)
	}
	return sum%10 == 0
}

// isTimestamp tells whether digits are a date with a time of day, or milli-, micro- or nanoseconds since 1970 in the
// years 2014 to 2033. No bank's cards begin like that.
func isTimestamp(digits string) bool {
	switch n := len(digits); {
	case (n == 13 || n == 16 || n == 19) && digits[0] == '1' && digits[1] >= '4':
		return true
	case n < 14 || n > 17:
		return false
	}
	year, month, day, hour := digits[:4], digits[4:6], digits[6:8], digits[8:10]
	return "1970" <= year && year <= "2099" && "01" <= month && month <= "12" && "01" <= day && day <= "31" && hour <= "23"
}
