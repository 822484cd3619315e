package tracker

import "strings"

// ibanLengths are the countries with IBANs and how long theirs are. Source: SWIFT, IBAN Registry
// (https://www.swift.com/standards/data-standards/iban-international-bank-account-number).
const ibanLengths = "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 " +
	"FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 " +
	"LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 " +
	"SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30 "

// redactIBANs replaces account numbers by ISO 13616, together or in groups, in any case.
func redactIBANs(s string, n *Replaced) string {
	return replaceAt(s, func(i int, before byte) (end int, with string) {
		if isAlnum(before) || i+5 > len(s) || !isDigit(s[i+2]) || !isDigit(s[i+3]) {
			return 0, ""
		}
		if end = iban(s, i); end == 0 {
			return 0, ""
		}
		return end, n.mark(replacedIBAN)
	})
}

// iban returns the end of the account number that begins at i, or 0: the length of its country and the right checksum, which one
// in 97 of others has too.
func iban(s string, i int) (end int) {
	left := ibanLength(s[i], s[i+1])
	if left == 0 {
		return 0
	}
	// By ISO 7064 the number is read from its fifth sign on, then the first four, letters as two digits, modulo 97.
	var sum, head int
	for read := 0; read < left; i++ {
		if i == len(s) {
			return 0
		}
		c := s[i]
		if !isAlnum(c) {
			if strings.IndexByte(" -._+", c) < 0 || i+1 == len(s) || !isAlnum(s[i+1]) {
				return 0
			}
			continue
		}
		to := &sum
		if read < 4 {
			to = &head
		}
		if isDigit(c) {
			*to = (*to*10 + int(c-'0'))
		} else {
			*to = (*to*100 + int(c|0x20-'a') + 10)
		}
		sum %= 97
		read++
	}
	if i < len(s) && isAlnum(s[i]) {
		return 0
	}
	// The head is two letters and two digits: six digits.
	if (sum*1_000_000+head)%97 != 1 {
		return 0
	}
	return i
}

// ibanLength returns the length of a country's IBANs, 0 if it has none.
func ibanLength(a, b byte) int {
	a, b = a&^0x20, b&^0x20
	for at := 0; at < len(ibanLengths); at += len("AD24 ") {
		if ibanLengths[at] == a && ibanLengths[at+1] == b {
			return int(ibanLengths[at+2]-'0')*10 + int(ibanLengths[at+3]-'0')
		}
	}
	return 0
}
