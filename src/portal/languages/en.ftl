# What guests read, on phones: short sentences, what happened and then what to do next. None of < > & and no straight
# quotes: routers print some of these into their own pages without escaping. Every key stands in every language, with
# the same variables. Formal where the language wants it; where regions have words of their own, those that all read.

## Why a code is not let in, and what to do next

denied-malformed = Please type the access code you were given.
denied-throttled = Too many wrong codes. Please wait a few minutes, then try again.
denied-source-unavailable = This code cannot be checked right now. Please try again in a minute.
denied-unknown-code = This code is not known. Please check it and try again.
denied-unknown-device = This device is not known here. Please type your access code.
denied-wrong-location = This code is not valid at this location. Please ask the front desk.
denied-ambiguous-code = This code was given out twice. Please ask the front desk for another one.
denied-wrong-password = The password does not fit this code. Please type the code alone.
# $from: a date with its time
denied-not-yet-valid = This code is valid from { $from }. Please try again then.
denied-not-yet-valid-undated = This code is not valid yet. Please try again later.
# $to: a date with its time
denied-expired = This code expired on { $to }. Please ask the front desk for a new one.
denied-expired-undated = This code has expired. Please ask the front desk for a new one.
denied-device-mismatch = This code belongs to another device. Use that device, or ask the front desk for your own code.
denied-no-minutes-left = No time is left on this code. Please ask the front desk for more.
# $limit: devices at once
denied-user-limit-reached =
    { $limit ->
        [one] This code is in use on another device. Log out there first.
       *[other] This code is in use on { $limit } devices, as many as it allows. Log out on one first.
    }

## The login page

login-code = Access code
login-go = Go online
login-hint = Type the code as you were given it. No code? Ask the front desk.
login-terms = Terms of use
hand-over-ready = Your code is good. One more tap and you are online.
language = Language
login-title = Go online

## The status page

status-online = You are online
status-offline = You are not online
status-time-left = Time left
status-unlimited = No limit
status-valid-until = Valid until
status-devices = Devices in use
# $devices: how many are in use; $limit: how many may be
status-devices-of = { $devices } of { $limit }
# $time: a duration
status-warning = Your time ends in { $time }. Save your work before then.
status-log-out = Log out
# $host: a site's name
status-continue = Continue to { $host }

## The logout page

logout-done = You are logged out
logout-kept = The time left on your code is kept for next time.
logout-pending = The WiFi has been told to log you out. This can take a minute.
logout-impossible = This device cannot be logged out from here. It stays online until it leaves the WiFi.
logout-again = Go online again

## The error page

error-title = This did not work
error-not-from-router = This page must be opened from the WiFi’s own login. Please connect to the WiFi again.
error-unknown-router = This WiFi’s router is not known to this page. Please tell the front desk.
error-go-to-router = Open the login of the WiFi

## What the router says went wrong

router-timeout = The WiFi did not answer in time. Please try again.
router-chap-missing = The login did not get through to the WiFi. Please try again.
router-refused = The WiFi did not accept the login. Please try again.

## Devices in use, and taking over a place

devices-title = Devices in use
devices-hint = To go online here, choose a device that goes offline.
# $end: the last digits of its address
devices-ending = Device ending in { $end }
devices-use-here = Use here instead
# $time: a time of today
devices-since = since { $time }
# $date: a date with its time
devices-since-date = since { $date }

## Durations

duration-hours =
    { $hours ->
        [one] { $hours } hour
       *[other] { $hours } hours
    }
duration-minutes =
    { $minutes ->
        [one] { $minutes } minute
       *[other] { $minutes } minutes
    }
duration-hours-minutes = { duration-hours } { duration-minutes }
# Stands in status-warning too.
duration-moments = less than 1 minute

## Dates; $clock is 18:00

time = { $clock }
date = { $day } { month }, { time }
date-with-year = { $day } { month } { $year }, { time }
# As it stands after the day.
month =
    { $month ->
        [1] January
        [2] February
        [3] March
        [4] April
        [5] May
        [6] June
        [7] July
        [8] August
        [9] September
        [10] October
        [11] November
       *[12] December
    }

## The router's own pages

page-continue = Continue
page-javascript = To go online here, please switch JavaScript on in this browser.
router-fault = The WiFi has a fault. Please tell the front desk.
router-no-address = The WiFi has no address left for this device. Please try again in a few minutes.
router-restarting = The WiFi is being restarted. Please try again in a few minutes.
router-devices = This code is in use on as many devices as it allows. Log out on one first.
router-full = The WiFi takes no more devices right now. Please try again in a few minutes.
router-in-progress = The login is still being checked. Please wait a moment, then try again.
