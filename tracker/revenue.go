package tracker

import (
	"math"
	"strconv"
	"strings"

	"github.com/valyala/fastjson"
)

// currencies are the active codes of ISO 4217 for money that people pay with, each followed by a space.
// Source: ISO 4217, list one (https://www.six-group.com/en/products-services/financial-information/data-standards.html).
const currencies = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD " +
	"CAD CDF CHF CLF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD " +
	"HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD " +
	"MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR " +
	"RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS " +
	"UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG "

// noCents and threeDigits are the currencies of the same list whose minor unit is not a hundredth; CLF has four digits.
const (
	noCents     = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF "
	threeDigits = "BHD IQD JOD KWD LYD OMR TND "
)

// maxRevenue is the largest amount that is believed, in minor units. A sum over a day stays far below an int64.
const maxRevenue = 1e12

// decodeRevenue reads {"amount": 12.5 or "12.50", "currency": "EUR"}. What it cannot read is no revenue: the
// event it came with counts all the same.
func decodeRevenue(v *fastjson.Value) Money {
	code := field(v, "currency")
	amount := field(v, "amount")
	if code == nil || amount == nil {
		return Money{}
	}
	currency, _ := text(code)
	return money(decimalText(amount), currency)
}

// money reads a decimal amount of a currency. What it cannot read is none.
func money(amount, currency string) Money {
	currency = strings.ToUpper(strings.TrimSpace(currency))
	digits, ok := minorDigits(currency)
	if !ok {
		return Money{}
	}
	minor, ok := parseDecimal(amount, digits, true)
	if !ok || minor > maxRevenue || minor < -maxRevenue {
		return Money{}
	}
	return Money{minor, currency}
}

// minorDigits returns how many digits the minor unit of a currency has; ok is false if there is no such currency.
func minorDigits(currency string) (digits int, ok bool) {
	in := func(list string) bool { return strings.Contains(list, currency+" ") }
	switch {
	case len(currency) != 3 || !in(currencies):
		return 0, false
	case in(noCents):
		return 0, true
	case in(threeDigits):
		return 3, true
	case currency == "CLF":
		return 4, true
	}
	return 2, true
}

// parseDecimal reads a decimal number such as -12.5 or 1.25e3 as an integer of 10^-digits, without ever going
// through a float: 0.29 is 29 cents. Digits beyond are rounded half away from zero, or cut.
func parseDecimal(s string, digits int, round bool) (int64, bool) {
	negative := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	mantissa, exponent, ok := cutExponent(s)
	if !ok {
		return 0, false
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	all := whole + fraction
	if all == "" || strings.Trim(all, "0123456789") != "" {
		return 0, false
	}
	n, ok := scale(all, len(whole)+exponent+digits, round)
	if negative {
		n = -n
	}
	return n, ok
}

// cutExponent cuts "e3" from a number. Exponents beyond two digits are no amounts of anything.
func cutExponent(s string) (mantissa string, exponent int, ok bool) {
	i := strings.IndexAny(s, "eE")
	if i < 0 {
		return s, 0, true
	}
	exponent, err := strconv.Atoi(s[i+1:])
	return s[:i], exponent, err == nil && -100 < exponent && exponent < 100
}

// scale returns the number that the first n of the digits make, with zeros added if there are fewer.
func scale(digits string, n int, round bool) (int64, bool) {
	var value int64
	for i := range n {
		next := int64(0)
		if i < len(digits) {
			next = int64(digits[i] - '0')
		}
		if value > (math.MaxInt64-9)/10 {
			return 0, false
		}
		value = value*10 + next
	}
	if round && 0 <= n && n < len(digits) && digits[n] >= '5' {
		value++
	}
	return value, true
}
