package tracker

import "strings"

// Numbers of cards and telephones, as ISO/IEC 7812 and ITU-T E.164 have them.
const (
	minCard = 13 // digits
	maxCard = 19
	// minCardGroup is the shortest group of digits in a card number that is written in groups, but for the last.
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
func redactNumbers(s string, n *Replaced) string {
	return replaceAt(s, func(i int, before byte) (end int, with string) {
		if end = phoneAt(s, i, before); end > 0 {
			return end, n.mark(replacedPhone)
		}
		fraction := before == '.' && i > 1 && isDigit(s[i-2]) // of a coordinate or a price
		if isDigit(s[i]) && !isDigit(before) && !fraction {
			if end = card(s, i); end > 0 {
				return end, n.mark(replacedCard)
			}
		}
		return 0, ""
	})
}

// card returns the end of the card number that begins at i, or 0: digits that a network of cards issues, with the right sum, all
// together or in groups with one sign between them.
func card(s string, i int) (end int) {
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
		if len(digits) >= minCard && luhn(digits) && isIssued(digits) && !isArticle(digits) {
			end = i
		}
		if n < minCardGroup || i+1 >= len(s) || strings.IndexByte(" -._+", s[i]) < 0 || !isDigit(s[i+1]) {
			return end
		}
		i++
	}
}

// isIssued tells whether a network of cards issues numbers that begin like that: Visa (4), Mastercard (51 to 55, 2221 to 2720),
// American Express, Diners Club, JCB (3), Maestro (50, 56 to 58, 6), Discover, UnionPay, RuPay (6, 81, 82), Mir (2200 to 2204) and
// Troy (9792). Times since 1970 and dates, which fill many a name of a page, begin otherwise, and so do most articles.
func isIssued(digits []byte) bool {
	four := int(digits[0]-'0')*1000 + int(digits[1]-'0')*100 + int(digits[2]-'0')*10 + int(digits[3]-'0')
	switch digits[0] {
	case '4', '5', '6':
		return four < 5900 || four >= 6000
	case '3':
		two := four / 100
		return two == 30 || two == 34 || two == 35 || two >= 36 && two <= 39
	case '2':
		return four >= 2200 && four <= 2204 || four >= 2221 && four <= 2720
	}
	return four/100 == 81 || four/100 == 82 || four == 9792
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
