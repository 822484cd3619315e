package tracker

import (
	"slices"
	"strings"
)

// The channels. The names are those of Google Analytics where it has the channel.
const (
	channelDirect          = "Direct"
	channelCrossNetwork    = "Cross-network"
	channelPaidShopping    = "Paid Shopping"
	channelPaidSearch      = "Paid Search"
	channelPaidSocial      = "Paid Social"
	channelPaidVideo       = "Paid Video"
	channelDisplay         = "Display"
	channelPaidOther       = "Paid Other"
	channelAI              = "AI Assistants"
	channelOrganicShopping = "Organic Shopping"
	channelOrganicSocial   = "Organic Social"
	channelOrganicVideo    = "Organic Video"
	channelOrganicSearch   = "Organic Search"
	channelEmail           = "Email"
	channelAffiliates      = "Affiliates"
	channelAudio           = "Audio"
	channelSMS             = "SMS"
	channelPush            = "Mobile Push Notifications"
	channelQR              = "QR Codes"
	channelReferral        = "Referral"
	channelCampaign        = "Other Campaigns"
)

// traffic is what decides the channel of a visit.
type traffic struct {
	source   string // name of the source, empty if unknown
	category string // of the source, as in data/sources.txt; empty if unknown
	medium   string // utm_medium
	campaign string // utm_campaign
	referred bool   // the source is a link on another page, not a campaign's
	// paidClick says that an ad network's click id was on the address, as automatic tagging leaves it.
	paidClick bool
}

// channel names the channel of a visit, by the first rule that fits. Rules and order are those of Google
// Analytics' default channel group (https://support.google.com/analytics/answer/9756891), except that
//   - AI assistants and QR codes are channels of their own,
//   - click ids count as paid, since Google's own tagging does not reach us,
//   - "shop" in a campaign's name makes only paid traffic shopping: a shop's newsletter is not,
//   - a link on an unknown page is a referral without saying so in utm_medium,
//   - what is left is called Other Campaigns, not Unassigned.
func channel(t traffic) string {
	source, medium, campaign := strings.ToLower(t.source), strings.ToLower(t.medium), strings.ToLower(t.campaign)
	switch {
	case isDirect(source, medium, campaign) && !t.paidClick:
		return channelDirect
	case strings.Contains(campaign, "cross-network"):
		return channelCrossNetwork
	}
	paid := t.paidClick || isPaid(medium)
	if t.category == "paidsearch" { // such as utm_source=google_ads, which says it all
		paid, t.category = true, "search"
	}
	if paid || isDisplay(t.category, medium) {
		return paidChannel(t.category, medium, campaign, paid)
	}
	if c := channelOfSource(t.category, medium); c != "" {
		return c
	}
	return channelOfMedium(source, medium, t)
}

func isDirect(source, medium, campaign string) bool {
	switch source {
	case "", "direct", "(direct)":
		return campaign == "" && (medium == "" || medium == "(none)" || medium == "(not set)")
	}
	return false
}

// isPaid is the expression ^(.*cp.*|ppc|retargeting|paid.*)$.
func isPaid(medium string) bool {
	return strings.Contains(medium, "cp") || medium == "ppc" || medium == "retargeting" || strings.HasPrefix(medium, "paid")
}

func isDisplay(category, medium string) bool {
	return category == "ad" || slices.Contains([]string{"display", "banner", "expandable", "interstitial", "cpm"}, medium)
}

func paidChannel(category, medium, campaign string, paid bool) string {
	switch {
	case paid && (category == "shopping" || isShopping(campaign)):
		return channelPaidShopping
	case paid && category == "search":
		return channelPaidSearch
	case paid && category == "social":
		return channelPaidSocial
	case paid && category == "video":
		return channelPaidVideo
	case isDisplay(category, medium):
		return channelDisplay
	}
	return channelPaidOther
}

// isShopping is the expression ^(.*(([^a-df-z]|^)shop|shopping).*)$.
func isShopping(campaign string) bool {
	if strings.Contains(campaign, "shopping") {
		return true
	}
	for rest := campaign; ; {
		i := strings.Index(rest, "shop")
		if i < 0 {
			return false
		}
		if i == 0 && len(rest) == len(campaign) {
			return true
		}
		if i > 0 {
			if before := rest[i-1]; before < 'a' || before > 'z' || before == 'e' {
				return true
			}
		}
		rest = rest[i+1:]
	}
}

// channelOfSource returns the channel of unpaid traffic by the kind of its source, "" if that decides nothing.
func channelOfSource(category, medium string) string {
	switch {
	case category == "ai" || medium == "ai":
		return channelAI
	case category == "shopping":
		return channelOrganicShopping
	case category == "social" || slices.Contains([]string{"social", "social-network", "social-media", "sm", "social network", "social media"}, medium):
		return channelOrganicSocial
	case category == "video" || strings.Contains(medium, "video"):
		return channelOrganicVideo
	case category == "search" || medium == "organic":
		return channelOrganicSearch
	}
	return ""
}

// channelOfMedium returns the channel of unpaid traffic from a source of no known kind.
func channelOfMedium(source, medium string, t traffic) string {
	is := func(names ...string) bool { return slices.Contains(names, source) || slices.Contains(names, medium) }
	switch {
	case t.category == "email" || is("email", "e-mail", "e_mail", "e mail") || medium == "newsletter":
		return channelEmail
	case medium == "affiliate" || medium == "affiliates":
		return channelAffiliates
	case medium == "audio" || medium == "podcast":
		return channelAudio
	case is("sms"):
		return channelSMS
	case strings.HasSuffix(medium, "push") || strings.Contains(medium, "mobile") || strings.Contains(medium, "notification") || source == "firebase":
		return channelPush
	case is("qr", "qrcode", "qr-code", "qr_code", "qr code"):
		return channelQR
	case medium == "referral" || medium == "app" || medium == "link" || medium == "" && t.referred:
		return channelReferral
	}
	return channelCampaign
}
