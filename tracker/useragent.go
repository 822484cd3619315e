package tracker

import "strings"

// device is what a user agent says of a visitor's browser. The fields are those of Attributes.
type device struct{ browser, browserVersion, os, osVersion, class string }

// product is a token of user agents, such as "Firefox/", and the browser that it means.
type product struct{ token, name string }

// browsers are in the order of their claims: nearly everything calls itself Chrome and Safari as well, and the
// browsers inside of apps call themselves by their engine's name too.
var browsers = []product{
	{"Edg/", "Edge"}, {"EdgA/", "Edge"}, {"EdgiOS/", "Edge"}, {"Edge/", "Edge"},
	{"OPR/", "Opera"}, {"OPT/", "Opera"}, {"OPX/", "Opera"}, {"OPiOS/", "Opera"}, {"Opera Mini/", "Opera Mini"},
	{"SamsungBrowser/", "Samsung Internet"},
	{"YaBrowser/", "Yandex Browser"}, {"YaSearchBrowser/", "Yandex Browser"},
	{"Vivaldi/", "Vivaldi"},
	{"DuckDuckGo/", "DuckDuckGo"}, {"Ddg/", "DuckDuckGo"},
	{"Ecosia ", "Ecosia"},
	{"UCBrowser/", "UC Browser"}, {"HuaweiBrowser/", "Huawei Browser"}, {"MiuiBrowser/", "Mi Browser"},
	{"VivoBrowser/", "Vivo Browser"}, {"HeyTapBrowser/", "HeyTap Browser"}, {"QQBrowser/", "QQ Browser"},
	{"Whale/", "Whale"}, {"Silk/", "Amazon Silk"}, {"Falkon/", "Falkon"}, {"SeaMonkey/", "SeaMonkey"}, {"PaleMoon/", "Pale Moon"},
	{"Instagram ", "Instagram"}, {"FBAV/", "Facebook"}, {"FBAN/", "Facebook"}, {"musical_ly_", "TikTok"}, {"BytedanceWebview/", "TikTok"},
	{"Snapchat/", "Snapchat"}, {"Pinterest/", "Pinterest"}, {"LinkedInApp", "LinkedIn"}, {"MicroMessenger/", "WeChat"}, {"GSA/", "Google App"},
	{"CriOS/", "Chrome"}, {"FxiOS/", "Firefox"}, {"Focus/", "Firefox"}, {"Klar/", "Firefox"}, {"Firefox/", "Firefox"},
	{"Epiphany/", "GNOME Web"}, {"Konqueror/", "Konqueror"},
	{"Chromium/", "Chromium"}, {"Chrome/", "Chrome"},
	{"MSIE ", "Internet Explorer"},
}

// parseUserAgent names browser, system and kind of device. What it does not know stays empty.
//
// A table of tokens does what is needed here: the parser libraries that were tried hold megabytes of user agents
// on the heap for it, and still take Android tablets for phones.
func parseUserAgent(ua string) device {
	var d device
	d.browser, d.browserVersion = browserOf(ua)
	// Systems and devices stand in the first comment.
	_, comment, _ := strings.Cut(ua, "(")
	comment, rest, _ := strings.Cut(comment, ")")
	d.os, d.osVersion = systemOf(comment)
	if d.os == "" && strings.Contains(rest, "KAIOS/") {
		d.os, d.osVersion = "KaiOS", after(rest, "KAIOS/")
	}
	d.class = classOf(d.os, comment, rest)
	return d
}

func browserOf(ua string) (name, version string) {
	for _, b := range browsers {
		if i := strings.Index(ua, b.token); i >= 0 {
			return b.name, major(ua[i+len(b.token):])
		}
	}
	switch {
	case strings.Contains(ua, "Trident/"):
		return "Internet Explorer", after(ua, "rv:")
	case strings.HasPrefix(ua, "Opera/"):
		if version = after(ua, "Version/"); version == "" {
			version = after(ua, "Opera/")
		}
		return "Opera", version
	case strings.Contains(ua, "Android") && strings.Contains(ua, "Version/"):
		return "Android Browser", after(ua, "Version/")
	case strings.Contains(ua, "AppleWebKit/") && (strings.Contains(ua, "Safari/") || strings.Contains(ua, "Mobile/")):
		return "Safari", after(ua, "Version/")
	}
	return "", ""
}

// windows are the names of Windows by kernel version. Windows 11 calls itself NT 10.0, too.
var windows = map[string]string{"10.0": "10", "6.3": "8", "6.2": "8", "6.1": "7", "6.0": "Vista", "5.2": "XP", "5.1": "XP"}

func systemOf(comment string) (name, version string) {
	switch {
	case strings.Contains(comment, "Windows Phone"):
		return "Windows Phone", after(comment, "Windows Phone ")
	case strings.Contains(comment, "Windows"):
		_, kernel, _ := strings.Cut(comment, "Windows NT ")
		kernel, _, _ = strings.Cut(kernel, ";")
		return "Windows", windows[kernel]
	case strings.Contains(comment, "iPhone") || strings.Contains(comment, "iPad") || strings.Contains(comment, "iPod"):
		return "iOS", after(comment, "OS ")
	case strings.Contains(comment, "Mac OS X") || strings.Contains(comment, "Macintosh"):
		return "macOS", macVersion(comment)
	case strings.Contains(comment, "Android"):
		return "Android", after(comment, "Android ")
	case strings.Contains(comment, "CrOS"):
		return "ChromeOS", ""
	case strings.Contains(comment, "Tizen"):
		return "Tizen", after(comment, "Tizen ")
	case strings.Contains(comment, "Web0S") || strings.Contains(comment, "webOS"):
		return "webOS", ""
	case strings.Contains(comment, "PlayStation"):
		return "PlayStation", after(comment, "PlayStation ")
	case strings.Contains(comment, "Nintendo"):
		return "Nintendo", ""
	case strings.Contains(comment, "OpenHarmony") || strings.Contains(comment, "HarmonyOS"):
		return "HarmonyOS", after(comment, "OpenHarmony ")
	case strings.Contains(comment, "FreeBSD"):
		return "FreeBSD", ""
	case strings.Contains(comment, "OpenBSD"):
		return "OpenBSD", ""
	case strings.Contains(comment, "NetBSD"):
		return "NetBSD", ""
	case strings.Contains(comment, "Linux") || strings.Contains(comment, "X11"):
		return "GNU/Linux", ""
	}
	return "", ""
}

// macVersion returns "10.15" or "11": up to 10.15 the second number was the major one. Browsers have frozen it there.
func macVersion(comment string) string {
	_, version, _ := strings.Cut(comment, "Mac OS X ")
	first := major(version)
	if first != "10" || len(version) < 4 {
		return first
	}
	if second := major(version[3:]); second != "" {
		return first + "." + second
	}
	return first
}

func classOf(os, comment, rest string) string {
	switch {
	case os == "Tizen" || os == "webOS" || strings.Contains(comment, "TV") || strings.Contains(comment, " AFT"):
		return "TV"
	case os == "PlayStation" || os == "Nintendo" || strings.Contains(comment, "Xbox"):
		return "Console"
	case strings.Contains(comment, "iPad") || strings.Contains(comment, "Tablet;") || strings.Contains(comment, "Kindle"):
		return "Tablet"
	case strings.Contains(comment, "iPhone") || strings.Contains(comment, "iPod") || strings.Contains(comment, "Mobile"):
		return "Mobile"
	case os == "Android" && strings.Contains(rest, "Chrome/") && !strings.Contains(rest, "Mobile"):
		return "Tablet" // Chrome leaves "Mobile" out on tablets
	case os == "Android" || os == "HarmonyOS" || os == "KaiOS" || os == "Windows Phone" || strings.Contains(rest, "Mobile"):
		return "Mobile"
	case strings.Contains(rest, "MIDP") || strings.Contains(comment, "Opera Mini"):
		return "Mobile"
	case os == "":
		return ""
	}
	return "Desktop"
}

// after returns the major version behind the first place of a token, "" if there is none.
func after(s, token string) string {
	_, version, _ := strings.Cut(s, token)
	return major(version)
}

// major returns a copy of the number at the start of a version, "" if there is none: what is kept must not hold the
// whole user agent in memory. Four digits are enough for every real one.
func major(version string) string {
	n := 0
	for n < len(version) && n < 5 && isDigit(version[n]) {
		n++
	}
	if n == 5 {
		return ""
	}
	return strings.Clone(version[:n])
}
