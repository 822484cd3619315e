package tracker

import (
	"strconv"

	"github.com/valyala/fasthttp"
)

// Hints are what Chromium's browsers say of themselves in headers of their own (User-Agent Client Hints,
// https://wicg.github.io/ua-client-hints/), reduced to names from closed lists. The headers with little in them come with
// every request; those that tell more are read if they come, but never asked for. The zero value says nothing.
type Hints struct {
	browser        string // as in browsers; empty: one that is not known, or the header is missing
	browserVersion int    // major
	headless       bool   // driven by a program
	mobile         bool
	os             string // as in systemOf
	osVersion      int    // major; 0 if unknown
}

// readHints reads the hints of a request.
func readHints(h *fasthttp.RequestHeader) Hints {
	brands := h.Peek("Sec-CH-UA")
	if len(brands) == 0 { // whoever sends any of them sends this
		return Hints{}
	}
	var hints Hints
	hints.readBrands(brands)
	hints.mobile = string(h.Peek("Sec-CH-UA-Mobile")) == "?1"
	hints.readPlatform(h.Peek("Sec-CH-UA-Platform"), h.Peek("Sec-CH-UA-Platform-Version"))
	return hints
}

// maxBrands bounds how many brands are read. Browsers send three.
const maxBrands = 8

// readBrands reads a list such as "Chromium";v="141", "Brave";v="141", "Not?A_Brand";v="8". Its order is random, and one of
// the brands is made up, lest anybody rely on either.
func (h *Hints) readBrands(list []byte) {
	chromium, engine := false, 0
	for range maxBrands {
		name, rest, ok := quoted(list)
		if !ok {
			break
		}
		version := 0
		if len(rest) > 3 && string(rest[:3]) == ";v=" {
			var number []byte
			if number, rest, ok = quoted(rest[3:]); ok {
				version = majorNumber(number)
			}
		}
		list = rest
		switch brand := brandName(name); brand {
		case "":
		case "Chromium":
			chromium, engine = true, version
		case headlessBrand:
			h.headless = true
		default:
			h.browser, h.browserVersion = brand, version
		}
	}
	if h.browser == "" && chromium {
		h.browser, h.browserVersion = "Chromium", engine
	}
}

// headlessBrand is how Chromium calls itself when it has no window. Only programs use it so.
const headlessBrand = "HeadlessChrome"

// brandName returns the name under which a brand is counted, "" for those that are made up or not known.
func brandName(brand []byte) string {
	switch string(brand) {
	case "Chromium":
		return "Chromium"
	case "Google Chrome":
		return "Chrome"
	case "Microsoft Edge":
		return "Edge"
	case "Brave":
		return "Brave"
	case "Opera", "Opera GX", "Opera Air":
		return "Opera"
	case "Vivaldi":
		return "Vivaldi"
	case "YaBrowser", "Yandex":
		return "Yandex Browser"
	case "Samsung Internet":
		return "Samsung Internet"
	case "DuckDuckGo":
		return "DuckDuckGo"
	case "Whale":
		return "Whale"
	case "Ecosia":
		return "Ecosia"
	case headlessBrand:
		return headlessBrand
	}
	return ""
}

func (h *Hints) readPlatform(platform, version []byte) {
	name, _, _ := quoted(platform)
	number, _, _ := quoted(version)
	n := majorNumber(number)
	switch string(name) {
	case "Windows":
		h.os = "Windows"
		// Numbers of the interface, not of the product: https://learn.microsoft.com/en-us/microsoft-edge/web-platform/how-to-detect-win11
		if n >= 13 {
			h.osVersion = 11
		} else if n > 0 {
			h.osVersion = 10
		}
	case "macOS":
		h.os = "macOS"
		if n >= 11 { // before, the second number is the major one, and the user agent has it
			h.osVersion = n
		}
	case "Android":
		h.os, h.osVersion = "Android", n
	case "iOS":
		h.os, h.osVersion = "iOS", n
	case "Chrome OS", "Chromium OS":
		h.os = "ChromeOS"
	case "Linux":
		h.os = "GNU/Linux"
	}
}

// refine adds to what the user agent says what the hints know better. A user agent of Chromium has been frozen: it calls every
// browser Chrome, and every Android 10. Where it has a name of its own, as apps have, that says more than the hints.
func (h *Hints) refine(d device) device {
	if h.browser != "" && (d.browser == "Chrome" || d.browser == "") {
		d.browser = h.browser
		d.browserVersion = h.version(d.browserVersion, h.browserVersion)
	}
	switch {
	case h.os == "" || d.class == "TV" || d.class == "Console":
		return d
	case d.os == "GNU/Linux" && h.os == "Android":
		// Tablets ask for the pages of desktops, with a user agent to match.
		d.os, d.osVersion, d.class = "Android", "", "Tablet"
	case d.os == "":
		d.os = h.os
	}
	if h.osVersion > 0 && d.os == h.os {
		d.osVersion = h.version(d.osVersion, h.osVersion)
	}
	switch {
	case h.mobile && (d.class == "Desktop" || d.class == "" || d.os == "Android"):
		d.class = "Mobile"
	case d.class != "":
	case d.os == "Android" || d.os == "iOS":
		d.class = "Tablet"
	default:
		d.class = "Desktop"
	}
	return d
}

// version returns the text of a number, without allocating where the user agent has said the same.
func (*Hints) version(known string, number int) string {
	var buf [maxVersionDigits]byte
	text := strconv.AppendInt(buf[:0], int64(number), 10)
	switch {
	case number == 0:
		return known
	case string(text) == known:
		return known
	}
	return string(text)
}

// maxVersionDigits is the most digits that a major version has, as for those in user agents.
const maxVersionDigits = 4

// majorNumber returns the number at the start of a version, 0 if there is none or it is too long to be one.
func majorNumber(version []byte) (n int) {
	for i, c := range version {
		if !isDigit(c) {
			break
		}
		if i == maxVersionDigits {
			return 0
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// quoted cuts the first string in quotes from a list, and what is before it. A quote within is written \".
func quoted(list []byte) (text, rest []byte, ok bool) {
	start := 0
	for start < len(list) && list[start] != '"' {
		start++
	}
	for end := start + 1; end < len(list); end++ {
		switch list[end] {
		case '\\':
			end++
		case '"':
			return list[start+1 : end], list[end+1:], true
		}
	}
	return nil, nil, false
}
