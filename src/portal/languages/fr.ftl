## Why a code is not let in, and what to do next

denied-malformed = Veuillez saisir le code d’accès que vous avez reçu.
denied-throttled = Trop de codes erronés. Veuillez attendre quelques minutes, puis réessayer.
denied-source-unavailable = Ce code ne peut pas être vérifié pour le moment. Veuillez réessayer dans une minute.
denied-unknown-code = Ce code est inconnu. Veuillez le vérifier et réessayer.
denied-unknown-device = Cet appareil n’est pas connu ici. Veuillez saisir votre code d’accès.
denied-wrong-location = Ce code n’est pas valable à cet endroit. Veuillez vous adresser à l’accueil.
denied-ambiguous-code = Ce code a été attribué deux fois. Veuillez en demander un autre à l’accueil.
denied-wrong-password = Le mot de passe ne correspond pas à ce code. Veuillez saisir le code seul.
denied-not-yet-valid = Ce code est valable à partir du { $from }. Veuillez réessayer à ce moment-là.
denied-not-yet-valid-undated = Ce code n’est pas encore valable. Veuillez réessayer plus tard.
denied-expired = Ce code a expiré le { $to }. Veuillez en demander un nouveau à l’accueil.
denied-expired-undated = Ce code a expiré. Veuillez en demander un nouveau à l’accueil.
denied-device-mismatch = Ce code appartient à un autre appareil. Utilisez cet appareil ou demandez votre propre code à l’accueil.
denied-no-minutes-left = Il ne reste plus de temps sur ce code. Veuillez en demander à l’accueil.
denied-user-limit-reached =
    { $limit ->
        [one] Ce code est utilisé sur un autre appareil. Déconnectez-vous d’abord sur celui-ci.
       *[other] Ce code est utilisé sur { $limit } appareils, le maximum permis. Déconnectez-vous d’abord sur l’un d’eux.
    }

## The login page

login-code = Code d’accès
login-go = Se connecter
login-hint = Saisissez le code tel que vous l’avez reçu. Pas de code ? Demandez à l’accueil.
login-terms = Conditions d’utilisation
hand-over-ready = Votre code est valable. Encore un appui et vous êtes en ligne.
language = Langue
login-title = Se connecter

## The status page

status-online = Vous êtes en ligne
status-offline = Vous n’êtes pas en ligne
status-time-left = Temps restant
status-unlimited = Sans limite
status-valid-until = Valable jusqu’au
status-devices = Appareils utilisés
status-devices-of = { $devices } sur { $limit }
status-warning = Votre temps se termine dans { $time }. Enregistrez votre travail d’ici là.
status-log-out = Se déconnecter
status-continue = Continuer vers { $host }

## The logout page

logout-done = Déconnexion réussie
logout-kept = Le temps restant sur votre code est conservé pour la prochaine fois.
logout-pending = La déconnexion a été demandée au WiFi. Cela peut prendre une minute.
logout-impossible = Cet appareil ne peut pas être déconnecté d’ici. Il reste en ligne jusqu’à ce qu’il quitte le WiFi.
logout-again = Se reconnecter

## The error page

error-title = Cela n’a pas fonctionné
error-not-from-router = Cette page doit être ouverte depuis la page de connexion du WiFi. Veuillez vous reconnecter au WiFi.
error-unknown-router = Le routeur de ce WiFi n’est pas connu de cette page. Veuillez prévenir l’accueil.
error-go-to-router = Ouvrir la page de connexion du WiFi

## What the router says went wrong

router-timeout = Le WiFi n’a pas répondu à temps. Veuillez réessayer.
router-chap-missing = La connexion n’est pas parvenue au WiFi. Veuillez réessayer.
router-refused = Le WiFi n’a pas accepté la connexion. Veuillez réessayer.

## Devices in use, and taking over a place

devices-title = Appareils utilisés
devices-hint = Pour vous connecter ici, choisissez un appareil à déconnecter.
devices-ending = Appareil se terminant par { $end }
devices-use-here = Utiliser plutôt ici
devices-since = depuis { $time }
devices-since-date = depuis le { $date }

## Durations

duration-hours =
    { $hours ->
        [one] { $hours } heure
       *[other] { $hours } heures
    }
duration-minutes =
    { $minutes ->
        [one] { $minutes } minute
       *[other] { $minutes } minutes
    }
duration-hours-minutes = { duration-hours } { duration-minutes }
duration-moments = moins d’une minute

## Dates

time = { $clock }
date = { day } { month } à { time }
date-with-year = { day } { month } { $year } à { time }
day =
    { $day ->
        [1] 1er
       *[other] { $day }
    }
month =
    { $month ->
        [1] janvier
        [2] février
        [3] mars
        [4] avril
        [5] mai
        [6] juin
        [7] juillet
        [8] août
        [9] septembre
        [10] octobre
        [11] novembre
       *[12] décembre
    }

## The router's own pages

page-continue = Continuer
page-javascript = Pour vous connecter ici, veuillez activer JavaScript dans ce navigateur.
router-fault = Le WiFi est en panne. Veuillez prévenir l’accueil.
router-no-address = Le WiFi n’a plus d’adresse pour cet appareil. Veuillez réessayer dans quelques minutes.
router-restarting = Le WiFi redémarre. Veuillez réessayer dans quelques minutes.
router-devices = Ce code est déjà utilisé sur autant d’appareils qu’il le permet. Déconnectez-vous d’abord de l’un d’eux.
router-full = Le WiFi n’accepte plus d’appareils pour le moment. Veuillez réessayer dans quelques minutes.
router-in-progress = La connexion est encore en cours de vérification. Veuillez patienter un instant, puis réessayer.
