package tracker

import (
	"strings"

	"zgo.at/isbot"
)

// programs are parts of user agents of programs that the list of zgo.at/isbot lacks, in lower case: libraries, headless
// browsers, monitors, previews of messengers, feed readers.
var programs = []string{
	"headless", "phantomjs", "puppeteer", "playwright", "selenium", "electronbot", "lighthouse", "ptst/", "gtmetrix", "pingdom",
	"uptime", "statuscake", "site24x7", "monitor", "prerender", "rendertron", "w3c_validator", "validator",
	"curl/", "wget", "libcurl", "lwp::", "python", "aiohttp", "httpx", "scrapy", "mechanize", "perl/", "php/", "guzzle", "symfony",
	"go-http-client", "okhttp", "axios", "node-fetch", "undici", "got (", "superagent", "apache-httpclient", "jakarta", "java/", "dalvik/",
	"httpie", "postman", "insomnia", "restsharp", "powershell", "winhttp", "urlgrabber", "ruby", "faraday", "typhoeus", "dart/", "reqwest",
	"whatsapp/", "telegrambot", "facebookexternalhit", "facebookcatalog", "meta-external", "embedly", "skypeuripreview", "slack-img", "preview",
	"slurp", "ia_archiver", "archive.org", "heritrix", "nutch", "yandeximages", "mediapartners", "feedfetcher", "appengine-google", "google-read-aloud",
	"chatgpt-user", "gptbot", "claude-web", "claude-user", "perplexity-user", "bytespider", "ccbot", "cohere-ai",
	"feed", "rss", "newsblur", "tiny tiny", "liferea", "netnewswire", "reeder/", "akregator", "winhttrack", "httrack", "teleport", "offline explorer",
	"scanner", "nikto", "sqlmap", "nmap", "masscan", "zgrab", "fuzz", "check_http", "probe", "fetch", "crawl", "spider", "scrape", "bot/", "bot;", "robot",
	"cfnetwork/", "indy library", "xenu", "@",
}

// IsBot tells whether a user agent is that of a program rather than of a person's browser. An empty one is.
// It goes by what programs say of themselves: one that poses as a browser is taken for one.
func IsBot(userAgent string) bool {
	if isCommonBrowser(userAgent) {
		return false
	}
	result := isbot.UserAgent(userAgent)
	if result == isbot.NoBotKnown {
		return false
	}
	if isbot.Is(result) {
		return true
	}
	lower := strings.ToLower(userAgent)
	// Only Internet Explorer and its like were ever compatible; today programs are.
	if strings.Contains(lower, "compatible;") && !strings.Contains(lower, "msie") && !strings.Contains(lower, "konqueror") {
		return true
	}
	for _, part := range programs {
		if strings.Contains(lower, part) {
			return true
		}
	}
	return false
}

// isCommonBrowser tells whether a user agent consists of nothing but the words and numbers of the browsers that most
// people use. It spares them the search for some two hundred names of programs, which would cost more than all
// the rest of a hit; who is not in here has not lost anything.
func isCommonBrowser(userAgent string) bool {
	rest, found := strings.CutPrefix(userAgent, "Mozilla/5.0 (")
	browser := false
	for found && rest != "" {
		end := strings.IndexAny(rest, " ();,/:")
		if end < 0 {
			end = len(rest)
		}
		word := rest[:end]
		rest = rest[min(end+1, len(rest)):]
		if word == "" || isDigit(word[0]) {
			continue
		}
		switch word {
		case "Safari", "Firefox":
			browser = true
		case "Windows", "NT", "Win64", "WOW64", "x64", "rv", "Macintosh", "Intel", "Mac", "OS", "X", "X11", "Ubuntu", "Linux", "x86_64", "CrOS",
			"Android", "K", "iPhone", "iPad", "CPU", "like", "Mobile", "Tablet", "AppleWebKit", "KHTML", "Gecko", "Version", "Chrome",
			"Edg", "EdgA", "EdgiOS", "OPR", "CriOS", "FxiOS", "SamsungBrowser", "GSA":
		default:
			return false
		}
	}
	return browser
}

// isAhead tells whether a request's purpose headers say that the page was fetched ahead of time, and so has been
// seen by nobody. Values: https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Sec-Purpose
func isAhead(purpose string) bool {
	if purpose == "" {
		return false
	}
	purpose = strings.ToLower(purpose)
	return strings.Contains(purpose, "prefetch") || strings.Contains(purpose, "prerender") || strings.Contains(purpose, "preview")
}
